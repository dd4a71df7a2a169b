//! The fields of a record, read as what they should be.

use lambda_proto::json::JsonStr;

use super::platform::{FromFields, Spans, Texts};
use super::words::Word;
use super::{Json, Milliseconds, Number, Reason};

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

/// The members of an object.
pub(super) struct Fields<'a>(pub(super) Json<'a>);

impl<'a> Fields<'a> {
    /// Shows each member, in order.
    pub(super) fn each(&self, note: impl FnMut(Field<'a>)) {
        self.0.members().map(|(name, value)| Field { name, value }).for_each(note);
    }
}

/// A member of an object.
#[derive(Clone, Copy)]
pub(super) struct Field<'a> {
    pub(super) name: JsonStr<'a>,
    pub(super) value: Json<'a>,
}

impl<'a> Field<'a> {
    /// The name as it was sent: the service does not escape names.
    pub(super) fn name(&self) -> &'a str {
        self.name.as_escaped()
    }

    pub(super) fn text(&self) -> Result<JsonStr<'a>, Unreadable<'a>> {
        if self.value.is_null() {
            return Ok(JsonStr::default());
        }
        self.value.to_text().ok_or(self.unreadable())
    }

    pub(super) fn word<W: Word<'a>>(&self) -> Result<Option<W>, Unreadable<'a>> {
        if self.value.is_null() {
            return Ok(None);
        }
        self.text().map(|text| Some(W::of(text)))
    }

    pub(super) fn number(&self) -> Result<Option<Number<'a>>, Unreadable<'a>> {
        if self.value.is_null() {
            return Ok(None);
        }
        self.value.to_number().ok_or(self.unreadable()).map(Some)
    }

    pub(super) fn milliseconds(&self) -> Result<Option<Milliseconds<'a>>, Unreadable<'a>> {
        Ok(self.number()?.map(Milliseconds::new))
    }

    pub(super) fn object<T: FromFields<'a>>(&self) -> Result<T, Unreadable<'a>> {
        if self.value.is_null() {
            return Ok(T::default());
        }
        if !self.value.is_object() {
            return Err(self.unreadable());
        }
        T::read(&Fields(self.value)).map_err(|failed| failed.reason)
    }

    pub(super) fn spans(&self) -> Result<Spans<'a>, Unreadable<'a>> {
        let list = self.list()?;
        for value in list.elements() {
            let _is_read: super::Span<'_> = Field { value, ..*self }.object()?;
        }
        Ok(Spans(list))
    }

    pub(super) fn texts(&self) -> Result<Texts<'a>, Unreadable<'a>> {
        let list = self.list()?;
        let is_texts = list.elements().all(|element| element.to_text().is_some());
        if is_texts { Ok(Texts(list)) } else { Err(self.unreadable()) }
    }

    fn list(&self) -> Result<List<'a>, Unreadable<'a>> {
        if self.value.is_null() {
            return Ok(List::default());
        }
        if self.value.is_array() { Ok(List(Some(self.value))) } else { Err(self.unreadable()) }
    }

    pub(super) fn unreadable(&self) -> Unreadable<'a> {
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
