//! Undoing the coding of a body that a check or an extraction wants to look at. What nobody looks at stays as it is.

use std::io::{self, Read};

use crate::connection_options::Coding;

/// Memory that a decoder of Brotli begins with.
const BUFFER: usize = 4096;

/// The first `limit` bytes of what was coded; as much as can be had of a body that is cut off or wrong. A body that blows
/// up costs no more than the limit.
pub(super) fn decoded(coding: Coding, coded: &[u8], limit: usize) -> Vec<u8> {
    let mut plain = Vec::new();
    let read = match coding {
        Coding::Gzip => take(flate2::read::MultiGzDecoder::new(coded), limit, &mut plain),
        Coding::Deflate if is_zlib(coded) => take(flate2::read::ZlibDecoder::new(coded), limit, &mut plain),
        // Some servers leave the wrapping away.
        Coding::Deflate => take(flate2::read::DeflateDecoder::new(coded), limit, &mut plain),
        Coding::Br => take(brotli_decompressor::Decompressor::new(coded, BUFFER), limit, &mut plain),
        Coding::Zstd => match ruzstd::decoding::StreamingDecoder::new(coded) {
            Ok(decoder) => take(decoder, limit, &mut plain),
            Err(e) => Err(io::Error::other(e)),
        },
    };
    if let Err(error) = read {
        tracing::debug!(?coding, %error, "a body cannot be decoded whole");
    }
    plain
}

fn take(decoder: impl Read, limit: usize, plain: &mut Vec<u8>) -> io::Result<usize> {
    decoder.take(limit as u64).read_to_end(plain)
}

/// Whether it begins as zlib does (RFC 1950 §2.2).
fn is_zlib(coded: &[u8]) -> bool {
    matches!(coded, [first, second, ..] if first & 0x0f == 8 && (u16::from(*first) << 8 | u16::from(*second)) % 31 == 0)
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use flate2::Compression;
    use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};
    use proptest::prelude::*;

    use super::*;

    fn gzip(plain: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(plain).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn each_coding_is_undone() {
        let plain = b"price price price".repeat(20);
        assert_eq!(decoded(Coding::Gzip, &gzip(&plain), 1 << 20), plain);
        let mut zlib = ZlibEncoder::new(Vec::new(), Compression::best());
        zlib.write_all(&plain).unwrap();
        assert_eq!(decoded(Coding::Deflate, &zlib.finish().unwrap(), 1 << 20), plain);
        let mut raw = DeflateEncoder::new(Vec::new(), Compression::best());
        raw.write_all(&plain).unwrap();
        assert_eq!(decoded(Coding::Deflate, &raw.finish().unwrap(), 1 << 20), plain);
        let zstd = ruzstd::encoding::compress_to_vec(&plain[..], ruzstd::encoding::CompressionLevel::Fastest);
        assert_eq!(decoded(Coding::Zstd, &zstd, 1 << 20), plain);
        // By the reference encoder.
        let brotli = [
            0x1b, 0x53, 0x01, 0xf8, 0x8d, 0x54, 0xb5, 0xbf, 0x06, 0x19, 0x83, 0x93, 0x53, 0x65, 0x69, 0x05, 0xcf, 0x60,
            0x75, 0x00, 0x08, 0xec, 0xc2, 0x7e,
        ];
        assert_eq!(decoded(Coding::Br, &brotli, 1 << 20), b"price price price".repeat(20));
    }

    #[test]
    fn what_blows_up_is_cut_at_the_limit() {
        let bomb = gzip(&vec![0; 50 << 20]);
        assert!(bomb.len() < 1 << 20);
        assert_eq!(decoded(Coding::Gzip, &bomb, 1000).len(), 1000);
    }

    #[test]
    fn of_a_body_that_is_cut_off_the_beginning_is_seen() {
        let plain: Vec<u8> =
            (0..100_000_u32).flat_map(|n| (n.wrapping_mul(2_654_435_761) >> 7).to_le_bytes()).collect();
        let coded = gzip(&plain);
        let seen = decoded(Coding::Gzip, &coded[..coded.len() / 2], 1 << 20);
        assert!(seen.len() > 1000 && plain.starts_with(&seen), "{}", seen.len());
    }

    proptest! {
        #[test]
        fn nonsense_does_no_harm(coded in proptest::collection::vec(any::<u8>(), 0..300)) {
            for coding in [Coding::Gzip, Coding::Deflate, Coding::Br, Coding::Zstd] {
                prop_assert!(decoded(coding, &coded, 1000).len() <= 1000);
            }
        }
    }
}
