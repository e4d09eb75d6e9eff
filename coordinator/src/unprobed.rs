//! Of which arms nothing is known at present, and why: what the engine remembers, read by the heart.

use localize::verdict::NotProbed;
use localize::{ServiceName, VantageName};

use crate::engine::{Event, Handle, Refusal};
use crate::localisation::{Past, case};

/// The arms of a service.
///
/// # Errors
/// When there is no such service, or no engine any more.
pub async fn of_service(engine: &Handle, service: ServiceName) -> Result<Vec<NotProbed>, Refusal> {
    let gather = engine.ask(|reply| Event::Gather {
        service,
        from_us: 0,
        have: None,
        reply,
    });
    let Some(evidence) = gather.await? else {
        return Ok(Vec::new());
    };
    let read = move || localize::not_probed(&case(evidence, &Past::default()));
    let read = tokio::task::spawn_blocking(read).await;
    read.map_err(|_| Refusal::Stopping)
}

/// The arms of one vantage point, with their services.
///
/// # Errors
/// When there is no engine any more.
pub async fn of_agent(
    engine: &Handle,
    agent: &VantageName,
) -> Result<Vec<(ServiceName, NotProbed)>, Refusal> {
    let mut found = Vec::new();
    for service in engine.services() {
        let arms = match of_service(engine, service.clone()).await {
            Ok(arms) => arms,
            // It was deleted meanwhile.
            Err(Refusal::UnknownService(_)) => continue,
            Err(refusal) => return Err(refusal),
        };
        let own = arms.into_iter().filter(|n| n.vantage == agent.0);
        found.extend(own.map(|n| (service.clone(), n)));
    }
    Ok(found)
}
