//! Turns the bytes of a fuzzer into decisions.

/// Takes decisions from the front of an input; missing ones are 0.
///
/// So 0 is always the ordinary choice, and a few zeros followed by the bytes of a recording are an
/// ordinary session.
#[derive(Clone, Debug)]
pub(crate) struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub(crate) fn byte(&mut self) -> u8 {
        let Some((&byte, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        byte
    }

    pub(crate) fn flag(&mut self) -> bool {
        self.byte() & 1 == 1
    }

    pub(crate) fn number(&mut self) -> usize {
        usize::from(u16::from_le_bytes([self.byte(), self.byte()]))
    }

    /// How often to repeat something of this length, so that it takes at most `most` bytes: usually
    /// not at all, at most 32,768 times. Most limits are too large for a fuzzer to reach otherwise.
    pub(crate) fn times(&mut self, length: usize, most: usize) -> usize {
        let times = match self.byte() {
            byte @ 0xf0.. => 1 << (byte & 0x0f),
            _ => 0,
        };
        times.min(most / length.max(1))
    }

    /// The rest after a byte that says how [often](Self::times) its second half is repeated.
    pub(crate) fn halves(mut self, most: usize) -> Vec<u8> {
        let bytes = self.0.get(1..).unwrap_or_default();
        let (once, again) = bytes.split_at(bytes.len() / 2);
        [once, again, &again.repeat(self.times(again.len(), most))].concat()
    }

    /// Chooses one of these by a byte.
    pub(crate) fn choose<T: Copy>(&mut self, among: &[T]) -> T {
        among[usize::from(self.byte()) % among.len()]
    }

    /// The next `length` bytes, or all that are left.
    pub(crate) fn take(&mut self, length: usize) -> &'a [u8] {
        let (piece, rest) = self.0.split_at(length.min(self.0.len()));
        self.0 = rest;
        piece
    }

    /// A byte with a length, and as many bytes.
    pub(crate) fn piece(&mut self) -> &'a [u8] {
        let length = self.byte();
        self.take(length.into())
    }

    /// Everything up to this byte, which is dropped, or to the end.
    pub(crate) fn until(&mut self, end: u8) -> &'a [u8] {
        let length = self.0.iter().position(|&byte| byte == end).unwrap_or(self.0.len());
        let piece = self.take(length);
        self.byte();
        piece
    }

    /// As [`until`](Self::until), as text.
    pub(crate) fn text(&mut self, end: u8) -> String {
        String::from_utf8_lossy(self.until(end)).into_owned()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn rest(self) -> &'a [u8] {
        self.0
    }
}

/// Positions within this length, in order, from arbitrary numbers.
pub(crate) fn cuts<const N: usize>(length: usize, numbers: [usize; N]) -> [usize; N] {
    let mut cuts = numbers.map(|number| number % (length + 1));
    cuts.sort_unstable();
    cuts
}
