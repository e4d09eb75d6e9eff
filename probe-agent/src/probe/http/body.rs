//! A body as it comes: counted, unpacked where it was asked for packed, digested and searched.
//!
//! What is compared is what the page says, whoever packed it, and how well. Unpacking is bounded twice: no
//! more bytes are taken from the wire than a plain body may have, and no more come of them; the window of
//! gzip (RFC 1951, section 2) is 32 KiB, whatever a server sends.

use std::io::{self, Write};

use flate2::write::MultiGzDecoder;
use http::header::{self, HeaderMap};
use localize::{Encoding, Failure};
use sha2::{Digest as _, Sha256};

use super::expected::Search;
use crate::probe::short_hex;

/// Whether more of a body is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum More {
    Wanted,
    Enough,
}

/// A body on its way in.
pub(super) struct Body {
    /// Bytes that came.
    came: u64,
    at_most: u64,
    content: Content,
}

/// How what comes becomes the page.
enum Content {
    Plain(Page),
    Packed(Box<MultiGzDecoder<Page>>),
    /// What came is not what it is said to be.
    Broken(Page),
}

/// The page as far as it was read.
#[derive(Clone)]
struct Page {
    digest: Sha256,
    search: Option<Search>,
    room: u64,
}

impl Body {
    /// Nothing as yet. No more is read than `at_most` bytes, and no more come of these.
    pub(super) fn new(search: Option<Search>, at_most: u64) -> Self {
        Self {
            came: 0,
            at_most,
            content: Content::Plain(Page {
                digest: Sha256::new(),
                search,
                room: at_most,
            }),
        }
    }

    /// Unpacks what is to come, where it was accepted packed and is said to be.
    pub(super) fn begins(&mut self, accepted: Encoding, headers: &HeaderMap) {
        if accepted == Encoding::Gzip && is_gzip(headers) {
            let gzip = MultiGzDecoder::new(self.page().clone());
            self.content = Content::Packed(Box::new(gzip));
        }
    }

    /// Takes in the next piece.
    pub(super) fn take(&mut self, data: &[u8]) -> More {
        let room = self.at_most - self.came;
        let data = &data[..within(data, room)];
        self.came += data.len() as u64;
        let taken = match &mut self.content {
            Content::Plain(page) => page.write_all(data),
            Content::Packed(gzip) => gzip.write_all(data),
            Content::Broken(_) => return More::Enough,
        };
        let full = self.came == self.at_most || self.page().room == 0;
        match taken {
            _ if full => More::Enough,
            Ok(()) => More::Wanted,
            Err(_) => {
                self.content = Content::Broken(self.page().clone());
                More::Enough
            }
        }
    }

    /// What is wrong with a body that has come to its end. Packed, it was cut short where its end is missing or is
    /// not that of what came.
    pub(super) fn failure(&mut self) -> Option<Failure> {
        if self.came == 0 || self.came == self.at_most || self.page().room == 0 {
            return None;
        }
        match &mut self.content {
            Content::Plain(_) => None,
            Content::Packed(gzip) => gzip.try_finish().err().map(|_| Failure::BodyTruncated),
            Content::Broken(_) => Some(Failure::HttpMalformed),
        }
    }

    /// Whether what is looked for was there, once the body has ended.
    pub(super) fn found(&self) -> bool {
        self.page().search.as_ref().is_none_or(Search::found)
    }

    /// Bytes that came.
    pub(super) fn came(&self) -> u64 {
        self.came
    }

    /// First 16 bytes of the page's SHA-256, in hexadecimal.
    pub(super) fn digest(&self) -> String {
        short_hex(&self.page().digest.clone().finalize())
    }

    fn page(&self) -> &Page {
        match &self.content {
            Content::Plain(page) | Content::Broken(page) => page,
            Content::Packed(gzip) => gzip.get_ref(),
        }
    }
}

/// Who unpacks into a page that is full is told to stop by an error.
impl Write for Page {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        let data = &data[..within(data, self.room)];
        self.digest.update(data);
        if let Some(search) = &mut self.search {
            search.take(data);
        }
        self.room -= data.len() as u64;
        Ok(data.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// How much of some data there is room for.
fn within(data: &[u8], room: u64) -> usize {
    data.len().min(usize::try_from(room).unwrap_or(usize::MAX))
}

fn is_gzip(headers: &HeaderMap) -> bool {
    let encoding = headers.get(header::CONTENT_ENCODING);
    encoding.is_some_and(|value| {
        let value = value.as_bytes();
        value.eq_ignore_ascii_case(b"gzip") || value.eq_ignore_ascii_case(b"x-gzip")
    })
}

#[cfg(test)]
mod tests {
    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;

    fn packed(text: &[u8]) -> Vec<u8> {
        let mut gzip = GzEncoder::new(Vec::new(), Compression::best());
        gzip.write_all(text).unwrap();
        gzip.finish().unwrap()
    }

    fn read(accepted: Encoding, said: &str, body: &[u8], at_most: u64) -> Body {
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_ENCODING, said.parse().unwrap());
        let mut read = Body::new(None, at_most);
        read.begins(accepted, &headers);
        for piece in body.chunks(7) {
            if read.take(piece) == More::Enough {
                break;
            }
        }
        read
    }

    #[test]
    fn a_packed_page_is_the_same_page() {
        let page = b"<h1>Welcome</h1>".repeat(500);
        let plain = read(Encoding::Identity, "identity", &page, 1 << 20);
        let gzip = packed(&page);
        let mut two = packed(&page[..100]);
        two.extend(packed(&page[100..]));
        for (said, body, same) in [
            ("gzip", &gzip, true),
            ("X-GZIP", &gzip, true),
            ("gzip", &two, true),
            ("br", &gzip, false),
            ("identity", &page, true),
        ] {
            let mut read = read(Encoding::Gzip, said, body, 1 << 20);
            assert_eq!(read.failure(), None, "{said}");
            assert_eq!(read.digest() == plain.digest(), same, "{said}");
            assert_eq!(read.came(), body.len() as u64, "{said}");
        }
        let unasked = read(Encoding::Identity, "gzip", &gzip, 1 << 20);
        assert_ne!(unasked.digest(), plain.digest());
    }

    #[test]
    fn what_is_not_gzip_is_told() {
        let whole = packed(&b"abcdefgh".repeat(100));
        let mut wrong = whole.clone();
        let last = wrong.len() - 6;
        wrong[last] ^= 1;
        for (body, failure) in [
            (&whole[..], None),
            (&b""[..], None),
            (&whole[..whole.len() - 9], Some(Failure::BodyTruncated)),
            (&b"<h1>Welcome</h1>"[..], Some(Failure::HttpMalformed)),
            // The checksum at its end is another page's.
            (&wrong[..], Some(Failure::BodyTruncated)),
        ] {
            let mut read = read(Encoding::Gzip, "gzip", body, 1 << 20);
            assert_eq!(read.failure(), failure, "{} bytes", body.len());
        }
    }

    /// A few kilobytes that would become 64 MiB.
    #[test]
    fn little_comes_of_a_bomb() {
        let zeros = vec![0; 64 << 20];
        let bomb = packed(&zeros);
        let mut read = read(Encoding::Gzip, "gzip", &bomb, 1 << 20);
        assert!(read.came() < 2048, "{}", read.came());
        assert_eq!(read.failure(), None);
        let plain = self::read(Encoding::Identity, "identity", &zeros, 1 << 20);
        assert_eq!(read.digest(), plain.digest());
    }
}
