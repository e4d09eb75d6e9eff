//! The form of the values: one byte for the format, a CRC-32, and pieces of less than a kilobyte.
//!
//! sled writes a value of more than about a kilobyte to a file of its own that it never syncs, so a
//! long value is cut: the first piece says how many follow, and the checksum spans them all.

use std::io::{Read, Write as _};

use flate2::Compression;
use flate2::read::DeflateDecoder;
use flate2::write::DeflateEncoder;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Longest piece in bytes, head included.
pub(super) const PIECE_BYTES: usize = 900;

/// Format, checksum and number of further pieces.
const HEAD_BYTES: usize = 9;

/// Most further pieces: those of the longest case, should it not deflate.
const MAX_PIECES: u32 = 300_000;

/// Payloads of more than one piece are worth deflating; most observations fit into one.
const DEFLATE_FROM_BYTES: usize = PIECE_BYTES - HEAD_BYTES + 1;

/// As it is.
const PLAIN: u8 = 1;
/// Raw deflate (RFC 1951).
const DEFLATED: u8 = 2;

/// Why a value cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ValueError {
    /// Shorter than its head.
    #[error("shorter than its head")]
    Short,
    /// A format byte that this version does not know.
    #[error("unknown format {0}")]
    UnknownFormat(u8),
    /// More further pieces than any value has.
    #[error("names {0} further pieces")]
    TooManyPieces(u32),
    /// A further piece is not there.
    #[error("piece {0} is missing")]
    MissingPiece(u32),
    /// The checksum does not fit.
    #[error("wrong checksum")]
    Checksum,
    /// It does not inflate, or to more than allowed.
    #[error("does not inflate")]
    Inflate,
    /// The payload is not what its key promises.
    #[error("the payload does not parse")]
    Payload,
}

/// A value ready to be stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Packed {
    format: u8,
    payload: Vec<u8>,
}

impl Packed {
    /// Packs bytes that are not worth deflating.
    pub(super) fn plain(payload: Vec<u8>) -> Self {
        Self {
            format: PLAIN,
            payload,
        }
    }

    /// Packs bytes, deflated where that makes them shorter.
    pub(super) fn bytes(payload: Vec<u8>) -> Self {
        if payload.len() < DEFLATE_FROM_BYTES {
            return Self::plain(payload);
        }
        match deflate(&payload) {
            Ok(deflated) if deflated.len() < payload.len() => Self {
                format: DEFLATED,
                payload: deflated,
            },
            Ok(_) | Err(_) => Self::plain(payload),
        }
    }

    /// Packs a record as JSON.
    pub(super) fn json<T: Serialize>(record: &T) -> Result<Self, serde_json::Error> {
        serde_json::to_vec(record).map(Self::bytes)
    }

    /// The head piece and the further ones, in order.
    pub(super) fn pieces(&self) -> (Vec<u8>, impl Iterator<Item = &[u8]>) {
        let split = self.payload.len().min(PIECE_BYTES - HEAD_BYTES);
        let (first, rest) = self.payload.split_at(split);
        let further = u32::try_from(rest.len().div_ceil(PIECE_BYTES)).unwrap_or(u32::MAX);
        let mut head = Vec::with_capacity(HEAD_BYTES + first.len());
        head.push(self.format);
        head.extend_from_slice(&crc32fast::hash(&self.payload).to_be_bytes());
        head.extend_from_slice(&further.to_be_bytes());
        head.extend_from_slice(first);
        (head, rest.chunks(PIECE_BYTES))
    }
}

/// How many further pieces the head piece of a value names.
pub(super) fn further_pieces(head: &[u8]) -> Result<u32, ValueError> {
    let bytes = head.get(5..HEAD_BYTES).ok_or(ValueError::Short)?;
    match bytes.try_into().map(u32::from_be_bytes) {
        Ok(count) if count <= MAX_PIECES => Ok(count),
        Ok(count) => Err(ValueError::TooManyPieces(count)),
        Err(_) => Err(ValueError::Short),
    }
}

/// The bytes of a value of which all pieces are at hand; at most `limit` after inflating.
pub(super) fn unpack<'a>(
    head: &[u8],
    further: impl Iterator<Item = &'a [u8]>,
    limit: usize,
) -> Result<Vec<u8>, ValueError> {
    let (format, checksum) = match head {
        [format, a, b, c, d, _, _, _, _, ..] => (*format, u32::from_be_bytes([*a, *b, *c, *d])),
        _ => return Err(ValueError::Short),
    };
    let mut payload = head[HEAD_BYTES..].to_vec();
    for piece in further {
        payload.extend_from_slice(piece);
    }
    if crc32fast::hash(&payload) != checksum {
        return Err(ValueError::Checksum);
    }
    match format {
        PLAIN => Ok(payload),
        DEFLATED => inflate(&payload, limit),
        other => Err(ValueError::UnknownFormat(other)),
    }
}

/// A record from the JSON of its value.
pub(super) fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, ValueError> {
    serde_json::from_slice(bytes).map_err(|_| ValueError::Payload)
}

fn deflate(bytes: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut encoder = DeflateEncoder::new(Vec::with_capacity(bytes.len() / 2), Compression::fast());
    encoder.write_all(bytes)?;
    encoder.finish()
}

fn inflate(bytes: &[u8], limit: usize) -> Result<Vec<u8>, ValueError> {
    let mut inflated = Vec::new();
    let ceiling = u64::try_from(limit).unwrap_or(u64::MAX).saturating_add(1);
    DeflateDecoder::new(bytes)
        .take(ceiling)
        .read_to_end(&mut inflated)
        .map_err(|_| ValueError::Inflate)?;
    if inflated.len() > limit {
        return Err(ValueError::Inflate);
    }
    Ok(inflated)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: usize = 1 << 20;

    fn roundtrip(payload: &[u8]) -> (usize, Vec<u8>) {
        let packed = Packed::bytes(payload.to_vec());
        let (head, further) = packed.pieces();
        let further: Vec<&[u8]> = further.collect();
        assert!(head.len() <= PIECE_BYTES && further.iter().all(|p| p.len() <= PIECE_BYTES));
        assert_eq!(further_pieces(&head).map(|n| n as usize), Ok(further.len()));
        let count = further.len();
        (
            count,
            unpack(&head, further.into_iter(), LIMIT).expect("whole"),
        )
    }

    /// Bytes that do not deflate.
    fn noise(len: usize) -> Vec<u8> {
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        std::iter::repeat_with(|| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state.to_be_bytes()[0]
        })
        .take(len)
        .collect()
    }

    #[test]
    fn comes_back_whole() {
        for (len, pieces) in [
            (0, 0),
            (1, 0),
            (891, 0),
            (892, 1),
            (1791, 1),
            (1792, 2),
            (90_000, 100),
        ] {
            let payload = noise(len);
            assert_eq!(roundtrip(&payload), (pieces, payload), "{len} bytes");
        }
        let text = b"a long and dull text ".repeat(1000);
        assert_eq!(roundtrip(&text), (0, text));
    }

    #[test]
    fn damage_is_seen() {
        let packed = Packed::bytes(noise(100));
        let (head, _) = packed.pieces();
        for at in 0..head.len() {
            let mut damaged = head.clone();
            damaged[at] ^= 1;
            // The count of pieces is checked by fetching them.
            if !(5..HEAD_BYTES).contains(&at) {
                assert!(
                    unpack(&damaged, std::iter::empty(), LIMIT).is_err(),
                    "byte {at}"
                );
            }
        }
        assert_eq!(
            unpack(&head[..8], std::iter::empty(), LIMIT),
            Err(ValueError::Short)
        );
    }

    #[test]
    fn a_bomb_is_refused() {
        let packed = Packed::bytes(vec![0; 100_000]);
        let (head, _) = packed.pieces();
        assert_eq!(
            unpack(&head, std::iter::empty(), 99_999),
            Err(ValueError::Inflate)
        );
        assert!(unpack(&head, std::iter::empty(), 100_000).is_ok());
    }
}
