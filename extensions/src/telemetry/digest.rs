//! A running digest of bytes.

/// XXH64 with the seed 0, which takes bytes in any pieces (xxHash fast digest algorithm, 0.2.0).
///
/// It is not cryptographic: the sender is Lambda, and two batches are mistaken for each other with a
/// probability of 2⁻⁶⁴.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Digest {
    lanes: [u64; 4],
    /// Bytes that do not fill a stripe yet.
    pending: [u8; STRIPE],
    pending_length: usize,
    length: u64,
}

/// The bytes that are digested at once, eight for each lane.
const STRIPE: usize = 32;

const PRIME_1: u64 = 0x9e37_79b1_85eb_ca87;
const PRIME_2: u64 = 0xc2b2_ae3d_27d4_eb4f;
const PRIME_3: u64 = 0x1656_67b1_9e37_79f9;
const PRIME_4: u64 = 0x85eb_ca77_c2b2_ae63;
const PRIME_5: u64 = 0x27d4_eb2f_1656_67c5;

impl Default for Digest {
    fn default() -> Self {
        Self {
            lanes: [PRIME_1.wrapping_add(PRIME_2), PRIME_2, 0, PRIME_1.wrapping_neg()],
            pending: [0; STRIPE],
            pending_length: 0,
            length: 0,
        }
    }
}

impl Digest {
    pub(super) fn of(bytes: &[u8]) -> u64 {
        let mut digest = Self::default();
        digest.update(bytes);
        digest.value()
    }

    pub(super) fn update(&mut self, mut bytes: &[u8]) {
        self.length = self.length.wrapping_add(bytes.len() as u64);
        if self.pending_length > 0 {
            bytes = self.keep(bytes);
            if self.pending_length < STRIPE {
                return;
            }
            let stripe = self.pending;
            self.digest(&stripe);
            self.pending_length = 0;
        }
        while let Some((stripe, rest)) = bytes.split_first_chunk::<STRIPE>() {
            self.digest(stripe);
            bytes = rest;
        }
        self.keep(bytes);
    }

    pub(super) fn value(&self) -> u64 {
        let [one, two, three, four] = self.lanes;
        let mut value = if self.length < STRIPE as u64 {
            PRIME_5
        } else {
            let sum = (one.rotate_left(1))
                .wrapping_add(two.rotate_left(7))
                .wrapping_add(three.rotate_left(12))
                .wrapping_add(four.rotate_left(18));
            self.lanes.iter().fold(sum, |sum, lane| {
                (sum ^ round(0, *lane)).wrapping_mul(PRIME_1).wrapping_add(PRIME_4)
            })
        };
        value = value.wrapping_add(self.length);
        let rest = self.pending.get(..self.pending_length).unwrap_or_default();
        let (words, rest) = rest.as_chunks::<8>();
        for word in words {
            value = (value ^ round(0, u64::from_le_bytes(*word))).rotate_left(27);
            value = value.wrapping_mul(PRIME_1).wrapping_add(PRIME_4);
        }
        let (halves, rest) = rest.as_chunks::<4>();
        for half in halves {
            let half = u64::from(u32::from_le_bytes(*half));
            value = (value ^ half.wrapping_mul(PRIME_1)).rotate_left(23);
            value = value.wrapping_mul(PRIME_2).wrapping_add(PRIME_3);
        }
        for byte in rest {
            value = (value ^ u64::from(*byte).wrapping_mul(PRIME_5)).rotate_left(11);
            value = value.wrapping_mul(PRIME_1);
        }
        value = (value ^ value >> 33).wrapping_mul(PRIME_2);
        value = (value ^ value >> 29).wrapping_mul(PRIME_3);
        value ^ value >> 32
    }

    /// Keeps bytes until a stripe is full, and returns those that are left.
    fn keep<'b>(&mut self, bytes: &'b [u8]) -> &'b [u8] {
        let room = self.pending.get_mut(self.pending_length..).unwrap_or_default();
        let length = room.len().min(bytes.len());
        room.iter_mut().zip(bytes).for_each(|(place, byte)| *place = *byte);
        self.pending_length += length;
        bytes.get(length..).unwrap_or_default()
    }

    fn digest(&mut self, stripe: &[u8; STRIPE]) {
        let (words, _none) = stripe.as_chunks::<8>();
        for (lane, word) in self.lanes.iter_mut().zip(words) {
            *lane = round(*lane, u64::from_le_bytes(*word));
        }
    }
}

const fn round(lane: u64, word: u64) -> u64 {
    lane.wrapping_add(word.wrapping_mul(PRIME_2)).rotate_left(31).wrapping_mul(PRIME_1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_are_those_of_xxhash() {
        // Printed by `xxhsum -H64` of xxHash 0.8.
        for (text, value) in [
            ("", 0xef46_db37_51d8_e999),
            ("a", 0xd24e_c4f1_a98c_6e5b),
            ("abc", 0x44bc_2cf5_ad77_0999),
        ] {
            assert_eq!(Digest::of(text.as_bytes()), value, "{text}");
        }
        let long: [u8; 100] = core::array::from_fn(|at| at as u8);
        assert_eq!(Digest::of(&long), 0x6ac1_e580_3216_6597);
    }

    #[test]
    fn pieces_have_the_digest_of_the_whole() {
        let text: [u8; 100] = core::array::from_fn(|at| at as u8);
        for end in 0..text.len() {
            let whole = Digest::of(&text[..end]);
            for cut in 0..end {
                let mut digest = Digest::default();
                digest.update(&text[..cut]);
                digest.update(b"");
                digest.update(&text[cut..end]);
                assert_eq!(digest.value(), whole, "{end} cut at {cut}");
            }
            let mut digest = Digest::default();
            text[..end].iter().for_each(|byte| digest.update(&[*byte]));
            assert_eq!(digest.value(), whole, "{end} byte by byte");
        }
    }
}
