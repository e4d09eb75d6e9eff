use super::*;
use crate::ca::Serial;
use proto::identity::Identity;

const NOW: u64 = 1_700_000_000_000_000;
const HOUR: u64 = 3_600_000_000;
const YEAR: u64 = 365 * 24 * HOUR;

fn issued(serial: &str) -> Issued {
    Issued {
        der: Vec::new().into(),
        pem: String::new(),
        serial: Serial(serial.into()),
        not_after_us: NOW + YEAR,
    }
}

fn peer(serial: &str, issued_us: u64) -> PeerCertificate {
    PeerCertificate {
        identity: Identity::Operator("ann".into()),
        serial: Serial(serial.into()),
        not_after_us: NOW + YEAR,
        issued_us,
    }
}

fn ann() -> OperatorRecord {
    let mut ann = created(None, "ann", OperatorRole::Viewer, "admin", NOW).unwrap();
    certified(&mut ann, &issued("aa"), NOW);
    ann
}

#[test]
fn names_are_those_that_a_certificate_can_carry_and_nobody_is_the_host() {
    let rows = [
        ("ann", true),
        ("ann.b-2", true),
        ("", false),
        ("Ann", false),
        ("a/b", false),
        ("host", false),
    ];
    for (name, good) in rows {
        let made = created(None, name, OperatorRole::Viewer, "admin", NOW);
        assert_eq!(made.is_ok(), good, "{name:?}");
    }
}

#[test]
fn a_certificate_counts_while_the_record_lists_it_and_until_its_end() {
    let ann = ann();
    let says = |operator: Option<&OperatorRecord>, serial: &str, now_us: u64| {
        accept(operator, &peer(serial, NOW), "ann", now_us)
    };
    let named = || "ann".to_owned();
    assert_eq!(says(Some(&ann), "aa", NOW), Ok(OperatorRole::Viewer));
    assert_eq!(
        says(Some(&ann), "bb", NOW),
        Err(Denied::Unlisted { name: named() })
    );
    assert_eq!(
        says(None, "aa", NOW),
        Err(Denied::Unlisted { name: named() })
    );
    assert!(matches!(
        says(Some(&ann), "aa", NOW + YEAR),
        Err(Denied::Ended { .. })
    ));
}

#[test]
fn who_is_let_in_again_gets_in_by_the_new_certificate_alone() {
    let mut gone = ann();
    revoke(&mut gone);
    let revoked = || {
        Err(Denied::Revoked {
            name: "ann".to_owned(),
        })
    };
    assert_eq!(accept(Some(&gone), &peer("aa", NOW), "ann", NOW), revoked());
    let mut again = created(Some(&gone), "ann", OperatorRole::Operator, "admin", NOW).unwrap();
    certified(&mut again, &issued("bb"), NOW);
    assert_eq!(
        accept(Some(&again), &peer("aa", NOW), "ann", NOW),
        revoked()
    );
    assert_eq!(
        accept(Some(&again), &peer("bb", NOW), "ann", NOW),
        Ok(OperatorRole::Operator)
    );
    let taken = created(Some(&again), "ann", OperatorRole::Admin, "admin", NOW);
    assert!(matches!(taken, Err(OperatorError::Taken { .. })));
}

#[test]
fn after_a_renewal_the_old_certificates_are_good_for_an_hour() {
    let mut ann = ann();
    renewed(&mut ann, &peer("aa", NOW), &issued("bb"), NOW);
    let good = |serial, at_us| accept(Some(&ann), &peer(serial, NOW), "ann", at_us).is_ok();
    assert!(good("aa", NOW + HOUR - 1) && !good("aa", NOW + HOUR));
    assert!(good("bb", NOW + HOUR));
}

#[test]
fn certificates_of_before_there_were_records_count_until_a_renewal() {
    let mut admin = first(NOW);
    let good = |admin: &OperatorRecord, issued_us, at_us| {
        accept(Some(admin), &peer("aa", issued_us), "admin", at_us)
    };
    assert_eq!(good(&admin, NOW - YEAR, NOW), Ok(OperatorRole::Admin));
    assert!(good(&admin, NOW, NOW).is_err(), "it was made later");
    renewed(&mut admin, &peer("cc", NOW - YEAR), &issued("bb"), NOW);
    assert!(good(&admin, NOW - YEAR, NOW).is_err());
    let shown = accept(Some(&admin), &peer("cc", NOW - YEAR), "admin", NOW + 1);
    assert_eq!(shown, Ok(OperatorRole::Admin));
}

#[test]
fn an_admin_whose_certificates_have_ended_lets_nobody_in() {
    let mut bob = created(None, "bob", OperatorRole::Admin, "admin", NOW).unwrap();
    certified(&mut bob, &issued("aa"), NOW);
    assert!(is_able_admin(&bob, NOW) && !is_able_admin(&bob, NOW + YEAR));
    assert!(!is_able_admin(&ann(), NOW));
    revoke(&mut bob);
    assert!(!is_able_admin(&bob, NOW));
}

#[test]
fn a_refusal_says_who_one_is_what_is_needed_and_whom_to_ask() {
    let says = |admins: &[&str]| {
        let admins = admins.iter().map(|&name| name.to_owned()).collect();
        let (name, has, call) = ("ann".to_owned(), OperatorRole::Viewer, Call::Backup);
        Denied::Role {
            name,
            has,
            call,
            admins,
        }
        .to_string()
    };
    assert_eq!(
        says(&["admin", "bob"]),
        "you are operator ann with role viewer, and Backup needs role admin; ask an admin: admin, bob"
    );
    assert!(says(&["a", "b", "c", "d", "e", "f"]).ends_with("ask a, b, c, d, e or another admin"));
}
