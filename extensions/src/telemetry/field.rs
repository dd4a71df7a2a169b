//! The fields of a record, read as what they should be.

use lambda_proto::json::JsonStr;

use super::platform::{FromFields, Spans, Texts};
use super::reader::Reader;
use super::words::Word;
use super::{Json, Milliseconds, Number, Reason, Span};

/// Why a part of a record cannot be read.
pub(super) type Unreadable<'a> = Reason<'a>;

/// A body that cannot be read, and what is known of it.
#[derive(Clone, Copy)]
pub(super) struct Failed<'a> {
    /// Of the first field that is wrong.
    pub(super) reason: Reason<'a>,
    /// Empty if it has none that can be read.
    pub(super) request_id: JsonStr<'a>,
}

impl<'a> From<Reason<'a>> for Failed<'a> {
    fn from(reason: Reason<'a>) -> Self {
        Self { reason, request_id: JsonStr::default() }
    }
}

/// A place in a record, which is JSON: it was read before. Each part of it is passed once.
pub(super) struct Cursor<'a> {
    text: &'a str,
    reader: Reader<'a>,
}

impl<'a> Cursor<'a> {
    /// A cursor at the start of this value.
    pub(super) const fn new(value: Json<'a>) -> Self {
        let text = value.as_str();
        Self { text, reader: Reader::new(text.as_bytes(), 0) }
    }

    /// Shows each member of the object that begins here, in order, and passes the object. If there is
    /// none, it does nothing.
    pub(super) fn each_member(&mut self, mut note: impl FnMut(Field<'a, '_>)) {
        if !self.reader.takes(b'{') || self.reader.takes(b'}') {
            return;
        }
        loop {
            let name = self.reader.pass_name();
            let name = JsonStr::from_field(self.text.get(name));
            self.reader.skip_space();
            let start = self.reader.position();
            note(Field { name, cursor: self });
            // What is unknown or wrong was not passed.
            if self.reader.position() == start {
                self.reader.pass_value();
            }
            if !self.reader.takes(b',') {
                self.reader.takes(b'}');
                return;
            }
        }
    }

    /// Passes an array, and shows the start of each element.
    fn each_element(&mut self, mut note: impl FnMut(&mut Self)) {
        if !self.reader.takes(b'[') || self.reader.takes(b']') {
            return;
        }
        loop {
            self.reader.skip_space();
            let start = self.reader.position();
            note(self);
            if self.reader.position() == start {
                self.reader.pass_value();
            }
            if !self.reader.takes(b',') {
                self.reader.takes(b']');
                return;
            }
        }
    }

    /// Passes a value.
    fn value(&mut self) -> Json<'a> {
        let value = self.reader.pass_value();
        self.text.get(value).map_or_else(Json::default, Json::of_value)
    }

    /// Passes an object; `None` if another value begins here. One that is `null` is empty.
    fn object<T: FromFields<'a>>(&mut self) -> Option<Result<T, Unreadable<'a>>> {
        match self.reader.peek() {
            Some(b'{') => Some(T::read(self).map_err(|failed| failed.reason)),
            Some(b'n') => {
                self.reader.pass_value();
                Some(Ok(T::default()))
            }
            _ => None,
        }
    }
}

/// A member of an object, whose value the cursor is at.
pub(super) struct Field<'a, 'c> {
    name: JsonStr<'a>,
    cursor: &'c mut Cursor<'a>,
}

impl<'a> Field<'a, '_> {
    /// The name as it was sent: the service does not escape names.
    pub(super) fn name(&self) -> &'a str {
        self.name.as_escaped()
    }

    pub(super) fn text(self) -> Result<JsonStr<'a>, Unreadable<'a>> {
        Ok(self.value(b"\"", Json::to_text)?.unwrap_or_default())
    }

    pub(super) fn word<W: Word<'a>>(self) -> Result<Option<W>, Unreadable<'a>> {
        Ok(self.value(b"\"", Json::to_text)?.map(W::of))
    }

    pub(super) fn number(self) -> Result<Option<Number<'a>>, Unreadable<'a>> {
        self.value(b"-0123456789", Json::to_number)
    }

    pub(super) fn milliseconds(self) -> Result<Option<Milliseconds<'a>>, Unreadable<'a>> {
        Ok(self.number()?.map(Milliseconds::new))
    }

    pub(super) fn object<T: FromFields<'a>>(self) -> Result<T, Unreadable<'a>> {
        let unreadable = self.unreadable();
        self.cursor.object().unwrap_or(Err(unreadable))
    }

    pub(super) fn spans(self) -> Result<Spans<'a>, Unreadable<'a>> {
        let unreadable = self.unreadable();
        let Self { cursor, .. } = self;
        let (start, is_array) = (cursor.reader.position(), cursor.reader.peek() == Some(b'['));
        if !is_array {
            return Field { name: self.name, cursor }.list().map(Spans);
        }
        let mut wrong = None;
        cursor.each_element(|cursor| match cursor.object::<Span<'_>>() {
            Some(Ok(_)) => {}
            Some(Err(reason)) => drop(wrong.get_or_insert(reason)),
            None => drop(wrong.get_or_insert(unreadable)),
        });
        let list = cursor.text.get(start..cursor.reader.position()).map(Json::of_value);
        wrong.map_or(Ok(Spans(List(list))), Err)
    }

    pub(super) fn texts(self) -> Result<Texts<'a>, Unreadable<'a>> {
        let unreadable = self.unreadable();
        let list = self.list()?;
        let is_texts = list.elements().all(|element| element.to_text().is_some());
        if is_texts { Ok(Texts(list)) } else { Err(unreadable) }
    }

    fn list(self) -> Result<List<'a>, Unreadable<'a>> {
        Ok(List(self.value(b"[", |value| Some(*value))?))
    }

    /// Passes a value that begins with one of these bytes, or is `null`.
    fn value<T>(
        self,
        starts: &[u8],
        read: impl FnOnce(&Json<'a>) -> Option<T>,
    ) -> Result<Option<T>, Unreadable<'a>> {
        match self.cursor.reader.peek() {
            Some(b'n') => {
                self.cursor.reader.pass_value();
                Ok(None)
            }
            Some(start) if starts.contains(&start) => Ok(read(&self.cursor.value())),
            _ => Err(self.unreadable()),
        }
    }

    fn unreadable(&self) -> Unreadable<'a> {
        Reason::WrongField { name: self.name }
    }
}

/// An array, or nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct List<'a>(Option<Json<'a>>);

impl<'a> List<'a> {
    pub(super) fn elements(&self) -> impl Iterator<Item = Json<'a>> + Clone + use<'a> {
        self.0.into_iter().flat_map(|array| array.elements())
    }
}
