//! A tar archive (POSIX.1-1988, "ustar"), packed with gzip: the same files make the same bytes.

use std::io::{self, Write as _};

use flate2::{Compression, GzBuilder};

/// A file of the archive.
pub struct File {
    /// Its path: up to 100 characters of ASCII.
    pub path: String,
    /// What is in it.
    pub bytes: Vec<u8>,
}

/// tar is made of blocks of this size.
const BLOCK: usize = 512;

/// Packs the files in their order, without times and owners.
///
/// # Errors
/// When a file is larger than an archive can say (8 GiB) or its path longer.
pub fn pack(files: &[File]) -> io::Result<Vec<u8>> {
    let mut packed = GzBuilder::new().write(Vec::new(), Compression::default());
    for file in files {
        packed.write_all(&header(file)?)?;
        packed.write_all(&file.bytes)?;
        let rest = file.bytes.len().next_multiple_of(BLOCK) - file.bytes.len();
        packed.write_all(&[0; BLOCK][..rest])?;
    }
    packed.write_all(&[0; 2 * BLOCK])?;
    packed.finish()
}

/// The fields of a header with their places in it; what is not set is zero.
fn header(file: &File) -> io::Result<[u8; BLOCK]> {
    let mut header = [0; BLOCK];
    let size = format!("{:011o}", file.bytes.len());
    let fields: [(usize, usize, &str); 8] = [
        (0, 100, &file.path),
        (100, 7, "0000644"),
        (108, 7, "0000000"),
        (116, 7, "0000000"),
        (124, 11, &size),
        (136, 11, "00000000000"),
        (156, 1, "0"),
        (257, 8, "ustar\x0000"),
    ];
    for (place, room, text) in fields {
        let bytes = text.as_bytes();
        if bytes.len() > room {
            return Err(io::Error::other(format!("{text} does not fit an archive")));
        }
        header[place..place + bytes.len()].copy_from_slice(bytes);
    }
    // Its own field counts as blanks.
    header[148..156].fill(b' ');
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    Ok(header)
}
