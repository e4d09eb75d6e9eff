//! Cookies that an arm was given and sends again, as a user's program does (RFC 6265): the session of somebody
//! who was there before. They are held in memory alone, each for one service and one arm, and are told to nobody.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use http::header::{self, HeaderMap, HeaderValue};
use localize::{Arm, ServiceName};

/// Cookies of one arm, and bytes of a name with its value: programs must keep as many bytes of each
/// (RFC 6265, section 6.1), and no site needs as many cookies for a page.
const MAX_COOKIES: usize = 16;
const MAX_BYTES: usize = 4096;
/// Arms remembered: twice what the largest plan has. Beyond it all begin anew.
const MAX_ARMS: usize = 1024;

/// The cookies of every arm that keeps them.
#[derive(Default)]
pub struct Jars(Mutex<BTreeMap<(ServiceName, Arm), Arc<Jar>>>);

/// The cookies of one arm.
#[derive(Default)]
pub struct Jar(Mutex<BTreeMap<String, String>>);

impl Jars {
    /// The cookies of a service's arm.
    pub fn of(&self, service: &ServiceName, arm: &Arm) -> Arc<Jar> {
        let mut jars = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (service.clone(), arm.clone());
        if jars.len() >= MAX_ARMS && !jars.contains_key(&key) {
            jars.clear();
        }
        Arc::clone(jars.entry(key).or_default())
    }
}

impl Jar {
    /// Keeps what an answer gives, each in the place of the one of its name; forgets what it takes back.
    pub fn take(&self, headers: &HeaderMap, path: &str) {
        let mut kept = self.kept();
        for value in headers.get_all(header::SET_COOKIE) {
            match value.to_str().ok().and_then(|text| Given::read(text, path)) {
                Some(Given::Kept(name, value))
                    if kept.len() < MAX_COOKIES || kept.contains_key(name) =>
                {
                    kept.insert(name.to_owned(), value.to_owned());
                }
                Some(Given::TakenBack(name)) => {
                    kept.remove(name);
                }
                Some(Given::Kept(..)) | None => {}
            }
        }
    }

    /// The header that sends them again, and the values in it; `None` without any.
    pub fn header(&self) -> Option<(HeaderValue, Vec<String>)> {
        let kept = self.kept();
        let pairs: Vec<String> = kept.iter().map(|(n, v)| format!("{n}={v}")).collect();
        let mut header = HeaderValue::from_str(&pairs.join("; ")).ok()?;
        header.set_sensitive(true);
        (!pairs.is_empty()).then(|| (header, kept.values().cloned().collect()))
    }

    fn kept(&self) -> MutexGuard<'_, BTreeMap<String, String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How many, and nothing of what they say.
impl std::fmt::Debug for Jar {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Jar").field(&self.kept().len()).finish()
    }
}

/// Likewise.
impl std::fmt::Debug for Jars {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let jars = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        f.debug_tuple("Jars").field(&jars.len()).finish()
    }
}

/// What a `Set-Cookie` does.
#[derive(Debug, PartialEq, Eq)]
enum Given<'t> {
    Kept(&'t str, &'t str),
    TakenBack(&'t str),
}

impl<'t> Given<'t> {
    /// Reads one (RFC 6265, section 5.2), for requests at a path. A cookie is taken back by an empty value, by
    /// an age of none, or by a date at the beginning of time, as servers write it.
    fn read(text: &'t str, path: &str) -> Option<Self> {
        let mut parts = text.split(';');
        let (name, value) = parts.next()?.split_once('=')?;
        let (name, value) = (name.trim(), value.trim());
        if name.is_empty() || name.len() + value.len() > MAX_BYTES {
            return None;
        }
        let mut over = value.is_empty();
        for attribute in parts {
            let (word, said) = attribute.split_once('=').unwrap_or((attribute, ""));
            let said = said.trim();
            match word.trim().to_ascii_lowercase().as_str() {
                "max-age" => over |= said.parse::<i64>().is_ok_and(|seconds| seconds <= 0),
                "expires" => over |= said.contains("1970"),
                "path" if said.starts_with('/') && !path.starts_with(said) => return None,
                _ => {}
            }
        }
        Some(match over {
            true => Self::TakenBack(name),
            false => Self::Kept(name, value),
        })
    }
}

#[cfg(test)]
mod tests {
    use localize::Target;

    use super::*;

    fn answer(cookies: &[&str]) -> HeaderMap {
        let cookies = cookies.iter();
        cookies
            .map(|text| (header::SET_COOKIE, text.parse().unwrap()))
            .collect()
    }

    fn sent(jar: &Jar) -> String {
        let header = jar.header();
        header.map_or_else(String::new, |(value, _)| value.to_str().unwrap().to_owned())
    }

    #[test]
    fn what_was_given_is_sent_again() {
        let long = format!("L={}", "x".repeat(MAX_BYTES));
        let rows: [(&[&str], &str); 10] = [
            (&["SRV=web2; path=/; HttpOnly"], "SRV=web2"),
            (&["SRV = web2 ;Secure", "b=1"], "SRV=web2; b=1"),
            (&["SRV=web2", "SRV=web1"], "SRV=web1"),
            (&["SRV=a=b"], "SRV=a=b"),
            (&["SRV=web2", "SRV=; path=/"], ""),
            (&["SRV=web2", "SRV=x; Max-Age=0"], ""),
            (&["SRV=x; Expires=Thu, 01-Jan-1970 00:00:01 GMT"], ""),
            (&["SRV=web2; Path=/cart", "adm=1; Path=/admin"], "SRV=web2"),
            (&["nonsense", "=x", &long], ""),
            (&[], ""),
        ];
        for (given, expected) in rows {
            let jar = Jar::default();
            given
                .iter()
                .for_each(|one| jar.take(&answer(&[one]), "/cart?x=1"));
            assert_eq!(sent(&jar), expected, "{given:?}");
        }
    }

    #[test]
    fn a_jar_is_bounded_and_shows_nothing() {
        let jar = Jar::default();
        for number in 0..100 {
            jar.take(&answer(&[&format!("c{number}=secret")]), "/");
        }
        assert_eq!(jar.kept().len(), MAX_COOKIES);
        let shown = format!("{jar:?} {:?}", jar.header().unwrap().0);
        assert!(!shown.contains("secret"), "{shown}");
    }

    #[test]
    fn each_arm_of_each_service_has_its_own() {
        let jars = Jars::default();
        let [shop, blog] = ["shop", "blog"].map(|name| ServiceName(name.to_owned()));
        let arm = |port| {
            Arm::to(Target::Vip {
                address: ([192, 0, 2, 1], port).into(),
            })
        };
        jars.of(&shop, &arm(80)).take(&answer(&["a=1"]), "/");
        assert_eq!(sent(&jars.of(&shop, &arm(80))), "a=1");
        assert_eq!(sent(&jars.of(&blog, &arm(80))), "");
        assert_eq!(sent(&jars.of(&shop, &arm(81))), "");
        for port in 1000..3000 {
            jars.of(&shop, &arm(port));
        }
        assert!(jars.0.lock().unwrap().len() <= MAX_ARMS);
    }
}
