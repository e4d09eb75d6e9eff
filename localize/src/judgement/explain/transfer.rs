//! Of a late answer, how much of its time went by before the first byte, and how much until the last one.

use alloc::format;
use alloc::vec::Vec;

use super::{Scene, remark};
use crate::facts::observation::{Layer, Target};
use crate::facts::time::Micros;
use crate::judgement::verdict::Evidence;
use crate::judgement::words::duration;
use crate::world::mode::Word;
use crate::world::part::What;

/// Of the answers the slowest one in so many is what is spoken of.
const SLOWEST: usize = 4;
/// Either of the two is what takes long when it is so many parts of ten.
const MOST: u64 = 8;

/// Whether a late backend thinks for long, or sends for long.
pub(super) fn transfer(scene: Scene<'_>, what: &What, mode: Word) -> Option<Evidence> {
    let (What::Backend(name), Word::Slow) = (what, mode) else {
        return None;
    };
    let answers = scene.observations.iter().filter_map(|seen| {
        let from_it = matches!(&seen.arm.target, Target::Backend { name: of, .. } if of == name);
        let within = from_it && scene.span.holds(seen.scheduled_us);
        let took = seen.took(Layer::Http).filter(|_| within)?;
        Some((took, seen.facts.http.as_ref()?.first_byte.min(took)))
    });
    let mut answers: Vec<(Micros, Micros)> = answers.collect();
    answers.sort_unstable();
    let slowest = answers.split_off(answers.len() - answers.len().div_ceil(SLOWEST));
    let (took, first) = *slowest.get(slowest.len() / 2)?;
    let rest = Micros(took.0 - first.0);
    let which = match (first.0 * 10, rest.0 * 10) {
        (thinks, _) if thinks >= took.0 * MOST => {
            ": it is the application that takes long, not the transfer"
        }
        (_, sends) if sends >= took.0 * MOST => {
            ": it is the transfer that takes long, not the application"
        }
        _ => "",
    };
    let text = format!(
        "of the {} that its slowest answers take, {} go by before the first byte and {} from there to the last{which}",
        duration(took),
        duration(first),
        duration(rest),
    );
    Some(remark(name, format!("backend/{name}"), text))
}
