//! Other names, other keys, and the end of agents.

use std::time::Duration;

use super::*;
use crate::enrolment::{Invitation, InviteError, JoinError};

fn invitation(name: &str) -> Invitation {
    let labels = BTreeMap::new();
    Invitation::new(name.to_owned(), Role::Outside, None, labels, Duration::ZERO).unwrap()
}

fn signing_request() -> String {
    let key = rcgen::KeyPair::generate().unwrap();
    let request = rcgen::CertificateParams::default().serialize_request(&key);
    request.unwrap().pem().unwrap()
}

impl Bench {
    /// Carries out what waits for the disk, and answers whoever waits for it.
    async fn settle(&mut self) {
        while let Ok(job) = self.jobs.try_recv() {
            let done = self.state.store.commit(job.writes).await;
            (job.then)(done);
        }
    }

    async fn invite(&mut self, invitation: Invitation) -> Result<[u8; 32], Refusal> {
        let (reply, answer) = reply();
        self.state.invite(NOW, &invitation, reply);
        self.settle().await;
        let (token, expires_us) = answer.await.unwrap()?;
        assert_eq!(expires_us, NOW + 3600 * SECOND);
        let mut secret = [0; 32];
        hex::decode_to_slice(token.secret, &mut secret).unwrap();
        Ok(secret)
    }

    async fn join(&mut self, secret: &[u8; 32], request: &str) -> Result<String, Refusal> {
        let (reply, answer) = reply();
        self.state.join(NOW, secret, request, String::new(), reply);
        self.settle().await;
        Ok(answer.await.unwrap()?.1.serial.0)
    }
}

#[tokio::test]
async fn a_lost_answer_to_a_join_is_given_again_to_the_same_key_alone() {
    let mut bench = Bench::new();
    let secret = bench.invite(invitation("a")).await.unwrap();
    let (ours, theirs) = (signing_request(), signing_request());
    let first = bench.join(&secret, &ours).await.unwrap();
    let again = bench.join(&secret, &ours).await.unwrap();
    assert_ne!(first, again);
    let refused = bench.join(&secret, &theirs).await;
    assert!(matches!(
        refused,
        Err(Refusal::Join(JoinError::Used { .. }))
    ));
    bench = bench.restart();
    bench.join(&secret, &ours).await.unwrap();
    let (reply, _) = reply();
    bench.state.revoke(NOW, &VantageName("a".to_owned()), reply);
    let refused = bench.join(&secret, &ours).await;
    assert!(matches!(
        refused,
        Err(Refusal::Join(JoinError::Used { .. }))
    ));
}

#[tokio::test]
async fn nobody_takes_a_connected_agents_place_unasked() {
    let mut bench = Bench::new();
    let early = bench.invite(invitation("a")).await.unwrap();
    let mut agent = bench.connect("a", Role::Outside);
    let refused = bench.invite(invitation("a")).await;
    assert!(matches!(
        refused,
        Err(Refusal::Invite(InviteError::Connected(_)))
    ));
    // A token that was made before is not used up by the attempt.
    let request = signing_request();
    let refused = bench.join(&early, &request).await;
    assert!(matches!(
        refused,
        Err(Refusal::Join(JoinError::Connected(_)))
    ));
    let replacing = invitation("a").replacing(true);
    let secret = bench.invite(replacing).await.unwrap();
    assert!(!agent.end.is_cancelled());
    bench.join(&secret, &request).await.unwrap();
    assert_eq!(agent.goodbye(), Some(Reason::Revoked));
    assert!(bench.state.sessions.is_empty());
    bench.join(&early, &request).await.unwrap();
}

#[tokio::test]
async fn an_agent_takes_its_history_along_to_another_name() {
    let mut bench = Bench::new();
    let mut agent = bench.connect("old", Role::Outside);
    let round = bench.fire(NOW);
    let seen = agent.saw(round, 7, resolver(), NOW, Outcome::Passed);
    let write = Write::Observation(seen.clone());
    bench.state.store.commit(vec![write]).await.unwrap();
    bench.record(NOW, &agent, vec![seen]);

    let (reply, answer) = reply();
    let from = agent.name.clone();
    bench.state.rename(NOW, &from, "new".to_owned(), reply);
    bench.settle().await;
    let new = VantageName("new".to_owned());
    assert_eq!(answer.await.unwrap().unwrap().record.name, new);
    assert_eq!(agent.goodbye(), Some(Reason::Unspecified));
    // What was on its way to the disk under the old name is stored under the new one.
    let late = agent.saw(round, 8, resolver(), NOW, Outcome::Passed);
    let write = Write::Observation(late.clone());
    bench.state.store.commit(vec![write]).await.unwrap();
    bench.record(NOW, &agent, vec![late]);

    for mut bench in [bench.restart()] {
        let stored = bench
            .state
            .store
            .observations(&shop(), 0, u64::MAX)
            .unwrap();
        let names: Vec<&VantageName> = stored.iter().map(Observation::vantage).collect();
        assert_eq!(names, [&new, &new]);
        assert_eq!(bench.state.store.durable_through(&new), Some(8));
        assert_eq!(bench.state.store.durable_through(&from), None);
        assert_eq!(bench.state.present_name(from.clone()), new);
        assert!(matches!(
            bench.invite(invitation("old")).await,
            Err(Refusal::Invite(InviteError::Former { .. }))
        ));
    }
}

#[tokio::test]
async fn a_deleted_agent_leaves_nothing_behind() {
    let mut bench = Bench::new();
    let mut agent = bench.connect("a", Role::Outside);
    let round = bench.fire(NOW);
    let seen = agent.saw(round, 7, resolver(), NOW, Outcome::Passed);
    let write = Write::Observation(seen.clone());
    bench.state.store.commit(vec![write]).await.unwrap();
    bench.record(NOW, &agent, vec![seen]);
    let (reply, answer) = reply();
    bench.state.delete_agent(NOW, &agent.name, reply);
    bench.settle().await;
    answer.await.unwrap().unwrap();
    assert_eq!(agent.goodbye(), Some(Reason::Revoked));
    let nothing = |bench: &Bench| {
        let store = &bench.state.store;
        assert_eq!(bench.state.status().known, 0);
        assert!(store.observations(&shop(), 0, u64::MAX).unwrap().is_empty());
        assert!(store.history(&shop(), 0).unwrap().is_empty());
        assert_eq!(store.durable_through(&agent.name), None);
        assert!(
            bench
                .state
                .gather(&shop(), 0, None)
                .unwrap()
                .unwrap()
                .observations
                .is_empty()
        );
    };
    nothing(&bench);
    nothing(&bench.restart());
}
