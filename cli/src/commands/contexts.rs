//! `meshctl context`.

use serde_json::json;

use super::{Careful, careful};
use crate::args::ContextCommand;
use crate::contexts::Contexts;
use crate::exit::Exit;
use crate::output::Output;
use crate::render::Table;
use crate::trouble::Trouble;

pub fn run(command: ContextCommand, output: &Output) -> Result<Exit, Trouble> {
    let contexts = Contexts::of_this_user()?;
    match command {
        ContextCommand::List => list(&contexts, output)?,
        ContextCommand::Use { name } => {
            if let Some(kept) = contexts.select(&name)? {
                output.say(&format!("What was used before is kept as context {kept}."));
            }
            done(output, &name, "used")?;
        }
        ContextCommand::Add { name, file } => {
            contexts.add(&name, &file)?;
            output.say(&format!(
                "`meshctl context use {name}` makes it the one that is used."
            ));
            done(output, &name, "added")?;
        }
        ContextCommand::Delete { name, care } => {
            contexts.must_know(&name)?;
            let question = format!("Delete context {name} with its key?");
            match careful(care, &question)? {
                Careful::Sure => {
                    contexts.delete(&name)?;
                    done(output, &name, "deleted")?;
                }
                Careful::DryRun => done(output, &name, "would be deleted")?,
            }
        }
    }
    Ok(Exit::Ok)
}

fn done(output: &Output, name: &str, result: &str) -> Result<(), Trouble> {
    let value = json!({"name": name, "result": result});
    output.print(&value, || format!("context {name} {result}\n"))
}

fn list(contexts: &Contexts, output: &Output) -> Result<(), Trouble> {
    let listed = contexts.list();
    let when_empty =
        "No contexts. `meshctl context add NAME FILE` keeps a coordinator's admin.toml as one.";
    output.list(&listed, when_empty, |grid| {
        let mut table = Table::new(["NAME", "USED", "COORDINATOR"]);
        for one in &listed {
            let used = if one.current { "yes" } else { "" };
            table.row([one.name.clone(), used.to_owned(), one.addresses.join(", ")]);
        }
        table.text(grid)
    })
}
