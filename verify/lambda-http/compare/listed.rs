//! The list of differences.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;

use super::Fields;

/// The differences that were found, by their reasons.
#[derive(Default)]
pub(super) struct Listed(BTreeMap<Reason, Vec<Row>>);

/// A difference, and in how many more vectors of the source it is the same.
struct Row {
    case: String,
    field: String,
    theirs: String,
    ours: String,
    more: u32,
}

/// Why something differs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Reason {
    Stage,
    RequestValues,
    Path,
    Host,
    Context,
    Unread,
    Panics,
    Refused,
    ResponseValues,
    StreamedValues,
    Cookies,
    Text,
    Latin,
}

impl Reason {
    /// The reason of a difference in a field; a difference that has none fails the test.
    fn of(case: &str, field: &str, theirs: &str, ours: &str) -> Self {
        match field {
            "path" if theirs.ends_with(ours) || theirs == "/prod/prod" => Self::Stage,
            "path" => Self::Path,
            _ if field.starts_with("parameter ") => Self::Path,
            "header `host`" => Self::Host,
            "context" | "stage" | "client" => Self::Context,
            _ if field.starts_with("header ") && ours.contains(theirs) => Self::RequestValues,
            "response header `vary`" if case.contains("streamed") => Self::StreamedValues,
            "response header `vary`" => Self::ResponseValues,
            "response header `set-cookie`" => Self::Cookies,
            "body" | "base64" if case.contains(LATIN) => Self::Text,
            _ => panic!("{case}: {field}: lambda_http: {theirs}; here: {ours}"),
        }
    }

    /// A heading, and the reason.
    fn text(self) -> &'static str {
        match self {
            Self::Stage => {
                "## The stage is not in the path\n\
                \n\
                lambda_http begins the path with the stage of an API, also where the client\n\
                has not sent one, such as under a domain name of the program's own, unless\n\
                `AWS_LAMBDA_HTTP_IGNORE_STAGE_IN_PATH` is set. Here a program has the same\n\
                routes behind every source. `RequestContext::stage` has the stage, and\n\
                `RequestContext::path` the path of the client."
            }
            Self::RequestValues => {
                "## All values of a request header are kept\n\
                \n\
                Events of format 1.0 have `headers` and `multiValueHeaders`. lambda_http lets\n\
                the first, with one value for each name, replace the second."
            }
            Self::Path => {
                "## Paths are encoded\n\
                \n\
                HTTP APIs decode paths. lambda_http takes a `?` or `#` in a path for its end,\n\
                so a client can add parameters, and leaves a bare `%`, on which decoders\n\
                differ. It takes a path without a slash for the end of the host."
            }
            Self::Host => {
                "## There is a `Host` header\n\
                \n\
                lambda_http puts the domain name into the URI only. Here the URI has no host,\n\
                as in HTTP/1.1, and an event without the header gets one."
            }
            Self::Context => {
                "## The context has an address and a kind for each source\n\
                \n\
                lambda_http takes function URLs for HTTP APIs, and the default stage of an\n\
                HTTP API for one that has a name. It leaves the address of a client as it is\n\
                in the context, whether it is one or not, and has none behind a load balancer.\n\
                Here the address is parsed, without its port, and taken from the headers if a\n\
                load balancer has added it there."
            }
            Self::Unread => {
                "## A request is served although its context is in another form\n\
                \n\
                lambda_http refuses the event. Here the context is `RequestContext::Unread`."
            }
            Self::Panics => {
                "## No event panics\n\
                \n\
                lambda_http panics on a body that is not base64, on characters in a query that\n\
                a URI must not have, and on a parameter without values."
            }
            Self::Refused => {
                "## Invalid members are refused\n\
                \n\
                lambda_http leaves out an invalid cookie, reads an empty method as `GET`, and\n\
                takes text where a list is documented."
            }
            Self::ResponseValues => {
                "## All values of a response header are sent\n\
                \n\
                Format 2.0, and load balancers without multi-value headers, have one value for\n\
                each name. lambda_http sends the first. Here the values are joined (RFC 9110,\n\
                section 5.3)."
            }
            Self::StreamedValues => {
                "## Values of a streamed response header are joined\n\
                \n\
                lambda_http begins the stream with a list of the values. Here they are joined,\n\
                as in format 2.0."
            }
            Self::Cookies => {
                "## All cookies are sent to a load balancer\n\
                \n\
                Without multi-value headers, an answer has one value for each name.\n\
                lambda_http sends the first cookie. Here each cookie has the name in another\n\
                mix of upper and lower case."
            }
            Self::Text => {
                "## Bodies are not converted\n\
                \n\
                lambda_http decodes a body that names a character set, and sends it as UTF-8\n\
                under the same content type. Here the client gets the bytes of the\n\
                application."
            }
            Self::Latin => {
                "## A response header need not be UTF-8\n\
                \n\
                lambda_http fails to write the answer. Here such a value is read as ISO\n\
                8859-1."
            }
        }
    }
}

impl Listed {
    /// Adds the differences between two requests or answers, or reasons why there is none.
    pub(super) fn compare(
        &mut self,
        case: &str,
        theirs: Result<Fields, String>,
        ours: Result<Fields, String>,
    ) {
        let (theirs, ours) = match (theirs, ours) {
            (Ok(theirs), Ok(ours)) => (theirs, ours),
            (Err(theirs), ours) if theirs == "panics" => {
                let ours = ours.err().unwrap_or_else(|| "takes it".to_owned());
                return self.add(Reason::Panics, case, "", "panics", &ours);
            }
            (Ok(_), Err(ours)) => return self.add(Reason::Refused, case, "", "takes it", &ours),
            // Both for the event, and neither for a fault of its own.
            (Err(theirs), Err(ours)) => {
                assert!(theirs.contains("the data doesn't match any of"), "{case}: {theirs}");
                let is_refused = ours.starts_with("the event is not an HTTP request: ");
                assert!(is_refused || ours == "answers with status 400", "{case}: {ours}");
                return;
            }
            (Err(_), Ok(ours)) if ours.get("context").is_some_and(|it| it == UNREAD) => {
                return self.add(Reason::Unread, case, "", "refuses it", "takes it");
            }
            (Err(theirs), Ok(ours)) if case.contains(NOT_UTF_8) => {
                let ours = ours.get("response header `x-latin`").map_or("", String::as_str);
                return self.add(Reason::Latin, case, "", &theirs, ours);
            }
            (Err(theirs), Ok(_)) => panic!("{case}: only lambda_http refuses it: {theirs}"),
        };
        let nothing = String::new();
        for field in theirs.keys().chain(ours.keys().filter(|name| !theirs.contains_key(*name))) {
            let theirs = theirs.get(field).unwrap_or(&nothing).trim_end();
            let ours = ours.get(field).unwrap_or(&nothing).trim_end();
            if theirs != ours {
                self.add(Reason::of(case, field, theirs, ours), case, field, theirs, ours);
            }
        }
    }

    fn add(&mut self, reason: Reason, case: &str, field: &str, theirs: &str, ours: &str) {
        let rows = self.0.entry(reason).or_default();
        let source = |case: &str| case.split(':').next().map(str::to_owned);
        let same = rows.iter_mut().find(|row| {
            let is_same_field = (&*row.field, &*row.theirs, &*row.ours) == (field, theirs, ours);
            is_same_field && source(&row.case) == source(case)
        });
        match same {
            Some(row) => row.more += 1,
            None => {
                let [case, field, theirs, ours] = [case, field, theirs, ours].map(str::to_owned);
                rows.push(Row { case, field, theirs, ours, more: 0 });
            }
        }
    }

    /// Compares this with `differences.md`.
    pub(super) fn check(&self) {
        let mut text = String::from(INTRODUCTION);
        for (reason, rows) in &self.0 {
            writeln!(text, "\n{}\n\n{HEAD}", reason.text()).unwrap();
            for Row { case, field, theirs, ours, more } in rows {
                let more = if *more > 0 { format!(" (and {more} more)") } else { String::new() };
                let [theirs, ours] = [theirs, ours].map(|text| text.replace('|', "\\|"));
                writeln!(text, "| {case}{more} | {field} | {theirs} | {ours} |").unwrap();
            }
        }
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/differences.md");
        if std::env::var_os("UPDATE").is_some() {
            fs::write(path, &text).unwrap();
        }
        let listed = fs::read_to_string(path).unwrap_or_default();
        assert!(listed == text, "differences.md is out of date; run with UPDATE=1, and look at it");
    }
}

/// The kind of a context that is in another form.
pub(super) const UNREAD: &str = "unread";

/// In the names of responses.
pub(super) const LATIN: &str = "with text in ISO 8859-1";
pub(super) const NOT_UTF_8: &str = "with a header that is not UTF-8";

const INTRODUCTION: &str = "# Where lambda_http 1.3.2 and the feature `http` differ

`UPDATE=1 cargo test --manifest-path verify/lambda-http/Cargo.toml` writes this list; without
`UPDATE`, the test fails if the list is out of date. The same vectors and responses go through both.
Not in it:

- The URI has a scheme and a host in lambda_http, and none here.
- lambda_http keeps query parameters in a hash map: their order is lost, and what the client sent
  is encoded again. Here they have the order of the event, and the encoding of the client where the
  source has it.
- The content type decides in lambda_http whether a body is sent as text or as base64. Here it is
  text if it is UTF-8.
- Errors of the application are reported to Lambda in both; here they become responses if the
  program wants that.
- lambda_http also takes WebSockets and VPC Lattice, and gives path parameters and stage variables.
  Here those two are in the event, which is an extension of the request.
";

const HEAD: &str = "| vector | | lambda_http | here |\n|---|---|---|---|";
