//! Conversions between wire and heart.
//!
//! Towards the wire they cannot fail (`From`); towards the heart (`TryFrom`) they are the last place
//! where anything can be malformed, and [`Malformed`] says which field and why.

mod dns;
mod observation;
mod sighting;
mod trace;
mod verdict;

use core::net::{IpAddr, SocketAddr};

use localize::{Layer, Micros, Role, Stamp};

use crate::v1;

/// A message that a peer of this version would not have sent.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// A field that must be there is not.
    #[error("{0} is missing")]
    Missing(&'static str),
    /// A number that stands for nothing known.
    #[error("{field} has the unknown value {value}")]
    Unknown {
        /// The field.
        field: &'static str,
        /// Its value.
        value: i64,
    },
    /// A word that stands for nothing known.
    #[error("{field} has the unknown word {word:?}")]
    UnknownWord {
        /// The field.
        field: &'static str,
        /// The word.
        word: String,
    },
    /// Text that is no address.
    #[error("{field} is no address: {text:?}")]
    NotAnAddress {
        /// The field.
        field: &'static str,
        /// The text.
        text: String,
    },
    /// More, longer or larger than allowed.
    #[error("{field} is over its bound of {bound}")]
    OverBound {
        /// The field.
        field: &'static str,
        /// The bound.
        bound: u64,
    },
    /// A name that would do something to a terminal or a log.
    #[error("{0} holds a control character")]
    ControlCharacter(&'static str),
    /// The layers do not come in the order in which a probe passes them.
    #[error("{0} are out of order")]
    OutOfOrder(&'static str),
    /// Two fields that are not true together.
    #[error("{0} and {1} contradict each other")]
    Contradiction(&'static str, &'static str),
    /// A share or probability that is not a finite number.
    #[error("{0} is not a finite number")]
    NotFinite(&'static str),
}

/// The longest name, that of DNS (RFC 1035 section 2.3.4).
const MAX_NAME: usize = 253;
/// The longest text that explains something.
const MAX_TEXT: usize = 1000;
/// No layer and no error of a clock lasts an hour, in microseconds.
const MAX_TIME: u64 = 3_600_000_000;
/// The latest instant that fits the signed times of other libraries, in microseconds.
const MAX_INSTANT: u64 = i64::MAX as u64;

fn bounded(field: &'static str, text: String, bound: usize) -> Result<String, Malformed> {
    if text.len() > bound {
        return Err(Malformed::OverBound {
            field,
            bound: bound as u64,
        });
    }
    Ok(text)
}

/// Text for people, made printable: what a server or a host has put there reaches terminals and logs, and
/// is no reason to lose the fact that it stands beside.
fn prose(field: &'static str, text: String, bound: usize) -> Result<String, Malformed> {
    Ok(printable(bounded(field, text, bound)?))
}

/// The text with a `?` in the place of each character that does something to a terminal or a log instead
/// of standing there.
#[must_use]
pub fn printable(text: String) -> String {
    if !text.contains(acts) {
        return text;
    }
    let plain = |c: char| if acts(c) { '?' } else { c };
    text.chars().map(plain).collect()
}

/// Control characters, line and paragraph separators, and the format characters (Unicode 16, category Cf)
/// that hide text or turn its direction round.
fn acts(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}'
            | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e007f}')
}

fn at_most(field: &'static str, value: u64, bound: u64) -> Result<u64, Malformed> {
    if value > bound {
        Err(Malformed::OverBound { field, bound })
    } else {
        Ok(value)
    }
}

fn few<T>(field: &'static str, items: &[T], bound: usize) -> Result<(), Malformed> {
    at_most(field, items.len() as u64, bound as u64).map(drop)
}

fn name(field: &'static str, text: String) -> Result<String, Malformed> {
    if text.is_empty() {
        return Err(Malformed::Missing(field));
    }
    if text.contains(acts) {
        return Err(Malformed::ControlCharacter(field));
    }
    bounded(field, text, MAX_NAME)
}

fn ip(field: &'static str, text: &str) -> Result<IpAddr, Malformed> {
    text.parse().map_err(|_| Malformed::NotAnAddress {
        field,
        text: shortened(text),
    })
}

fn socket(field: &'static str, text: &str) -> Result<SocketAddr, Malformed> {
    text.parse().map_err(|_| Malformed::NotAnAddress {
        field,
        text: shortened(text),
    })
}

fn shortened(text: &str) -> String {
    text.chars().take(60).collect()
}

fn finite(field: &'static str, value: f64) -> Result<f64, Malformed> {
    if value.is_finite() {
        Ok(value)
    } else {
        Err(Malformed::NotFinite(field))
    }
}

fn micros(field: &'static str, value: u64) -> Result<Micros, Malformed> {
    at_most(field, value, MAX_TIME).map(Micros)
}

fn narrow<T: TryFrom<u32>>(field: &'static str, value: u32, bound: u64) -> Result<T, Malformed> {
    T::try_from(value).map_err(|_| Malformed::OverBound { field, bound })
}

impl From<Stamp> for v1::Stamp {
    fn from(stamp: Stamp) -> Self {
        Self {
            at_us: stamp.at_us,
            uncertainty_us: stamp.uncertainty_us,
        }
    }
}

impl TryFrom<v1::Stamp> for Stamp {
    type Error = Malformed;

    fn try_from(wire: v1::Stamp) -> Result<Self, Malformed> {
        Ok(Self {
            at_us: at_most("stamp", wire.at_us, MAX_INSTANT)?,
            uncertainty_us: wire.uncertainty_us.min(Stamp::UNKNOWN_US),
        })
    }
}

impl From<Layer> for v1::Layer {
    fn from(layer: Layer) -> Self {
        match layer {
            Layer::Dns => Self::Dns,
            Layer::Tcp => Self::Tcp,
            Layer::Tls => Self::Tls,
            Layer::Http => Self::Http,
        }
    }
}

impl TryFrom<v1::Layer> for Layer {
    type Error = Malformed;

    fn try_from(wire: v1::Layer) -> Result<Self, Malformed> {
        match wire {
            v1::Layer::Dns => Ok(Self::Dns),
            v1::Layer::Tcp => Ok(Self::Tcp),
            v1::Layer::Tls => Ok(Self::Tls),
            v1::Layer::Http => Ok(Self::Http),
            v1::Layer::Unspecified => Err(Malformed::Missing("layer")),
        }
    }
}

fn layer(value: i32) -> Result<Layer, Malformed> {
    v1::Layer::try_from(value)
        .map_err(|_| Malformed::Unknown {
            field: "layer",
            value: value.into(),
        })?
        .try_into()
}

impl From<Role> for v1::Role {
    fn from(role: Role) -> Self {
        match role {
            Role::Outside => Self::Outside,
            Role::BehindCdn => Self::BehindCdn,
            Role::Inside => Self::Inside,
        }
    }
}

impl TryFrom<v1::Role> for Role {
    type Error = Malformed;

    fn try_from(wire: v1::Role) -> Result<Self, Malformed> {
        match wire {
            v1::Role::Outside => Ok(Self::Outside),
            v1::Role::BehindCdn => Ok(Self::BehindCdn),
            v1::Role::Inside => Ok(Self::Inside),
            v1::Role::Unspecified => Err(Malformed::Missing("role")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_acts_on_a_terminal_or_hides_in_a_line() {
        let rows = [
            ("naïve Grüße 東京 مرحبا 👍", "naïve Grüße 東京 مرحبا 👍"),
            ("a\u{1b}[2Jb\r\nc", "a?[2Jb??c"),
            ("\u{9b}31m", "?31m"),
            ("ok\u{202e}dlo\u{2066}", "ok?dlo?"),
            ("zero\u{200b}width\u{feff}", "zero?width?"),
            ("line\u{2028}feed", "line?feed"),
        ];
        for (text, expected) in rows {
            assert_eq!(printable(text.to_owned()), expected);
        }
        let refused = name("agent", "home\u{202e}1".to_owned());
        assert_eq!(refused, Err(Malformed::ControlCharacter("agent")));
    }
}
