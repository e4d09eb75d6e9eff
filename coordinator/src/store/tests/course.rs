//! How arms went over time.

use super::*;

/// Three minutes of two arms from two vantage points, one probe in the second minute failed.
async fn filled(store: &Store) {
    let mut sequences = BTreeMap::new();
    let mut seen = |agent: &str, arm: &str, minute: u64, failure| {
        let sequence: &mut u64 = sequences.entry(agent.to_owned()).or_default();
        *sequence += 1;
        let observation = observation(agent, *sequence, NOW + minute * MINUTE, failure);
        Write::Observation(Observation {
            arm: backend_arm(arm),
            ..observation
        })
    };
    let writes = vec![
        seen("home1", "web1", 0, None),
        seen("home2", "web1", 0, None),
        seen("home1", "web1", 1, Some(Failure::ConnectTimeout)),
        seen("home1", "web1", 1, None),
        seen("home1", "web2", 1, None),
        seen("home1", "web1", 2, None),
    ];
    store.commit(writes).await.expect("stored");
}

fn asked(step_us: u64) -> CourseOf {
    CourseOf {
        service: shop(),
        from_us: NOW,
        to_us: NOW + 3 * MINUTE,
        step_us,
        layer: Layer::Tcp,
        vantage: None,
        arm: None,
    }
}

/// Arm, and of each stretch the minute, what passed and what failed.
type Said = Vec<(String, Vec<(u64, u64, u64)>)>;

fn said(store: &Store, of: &CourseOf) -> Said {
    let courses = store.course(of).expect("reads").into_iter();
    let stretches = |course: Course| {
        let stretches = course.stretches.iter();
        stretches
            .map(|s| (s.at_us.abs_diff(NOW) / MINUTE, s.passed, s.failures()))
            .collect()
    };
    courses
        .map(|course| (course.arm.clone(), stretches(course)))
        .collect()
}

#[tokio::test]
async fn windows_are_added_up_by_stretch_and_arm() {
    let dir = TempDir::new().expect("folder");
    let store = open(&dir);
    filled(&store).await;
    let arm = |name: &str, stretches: &[(u64, u64, u64)]| (name.to_owned(), stretches.to_vec());
    let web2 = arm("backend/web2", &[(1, 1, 0)]);
    let rows: [(&str, CourseOf, Said); 5] = [
        (
            "by minute",
            asked(MINUTE),
            vec![
                arm("backend/web1", &[(0, 2, 0), (1, 1, 1), (2, 1, 0)]),
                web2.clone(),
            ],
        ),
        (
            "from one place",
            CourseOf {
                vantage: Some(vantage("home2")),
                ..asked(MINUTE)
            },
            vec![arm("backend/web1", &[(0, 1, 0)])],
        ),
        (
            "one arm",
            CourseOf {
                arm: Some("backend/web2".to_owned()),
                ..asked(MINUTE)
            },
            vec![web2],
        ),
        (
            "a layer that a failure did not reach",
            CourseOf {
                layer: Layer::Http,
                arm: Some("backend/web1".to_owned()),
                ..asked(MINUTE)
            },
            vec![arm("backend/web1", &[(0, 2, 0), (1, 1, 0), (2, 1, 0)])],
        ),
        (
            "a part of the time",
            CourseOf {
                from_us: NOW + 2 * MINUTE,
                ..asked(MINUTE)
            },
            vec![arm("backend/web1", &[(2, 1, 0)])],
        ),
    ];
    for (what, of, expected) in rows {
        assert_eq!(said(&store, &of), expected, "{what}");
    }
    let hours = store.course(&asked(60 * MINUTE)).expect("reads");
    let passed = |course: &Course| course.stretches.iter().map(|s| s.passed).sum::<u64>();
    assert_eq!(hours.iter().map(passed).collect::<Vec<u64>>(), [4, 1]);
    let courses = store.course(&asked(MINUTE)).expect("reads");
    let first = &courses[0].stretches[0];
    assert!(first.times.iter().all(|took| took.0 == 500), "{first:?}");
    assert_eq!(
        courses[0].stretches[1].failed,
        [(Failure::ConnectTimeout, 1)]
    );
    let other = CourseOf {
        service: ServiceName("other".into()),
        ..asked(MINUTE)
    };
    assert_eq!(store.course(&other).expect("reads"), []);
}

#[tokio::test]
async fn rounds_of_all_services_are_handed_over_since_an_instant() {
    let dir = TempDir::new().expect("folder");
    let store = open(&dir);
    let round = |service: &str, n: u64| RoundRecord {
        service: ServiceName(service.into()),
        round: RoundId(n),
        fire_at_us: NOW + n,
        expected: 4,
        received: 4,
        failed: 1,
        skew_us: 10,
        worst_uncertainty_us: 20,
    };
    let writes = [round("a", 1), round("b", 2), round("a", 3)].map(Write::Round);
    store.commit(writes.to_vec()).await.expect("stored");
    let mut handed = Vec::new();
    store
        .each_round(NOW + 2, |round| handed.push(round))
        .expect("reads");
    assert_eq!(handed, [round("b", 2), round("a", 3)]);
}
