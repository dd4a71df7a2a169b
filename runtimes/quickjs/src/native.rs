//! The functions of the runtime that its JavaScript calls.

use std::rc::Rc;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig, STANDARD};
use lambda_proto_host::lifecycle::clock;
use lambda_proto_std::Level;
use rquickjs::{
    ArrayBuffer, Ctx, Exception, Function, IntoJs, Object, Promise, Result, TypedArray, Value,
};

use crate::host::{Host, NewTimer, StreamForm};
use crate::loader::{self, Internals};
use crate::urls;

/// What `atob` reads: padding is optional.
const FORGIVING: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

/// Makes the object with all functions.
///
/// # Errors
///
/// If the memory does not suffice.
pub(crate) fn object<'js>(
    ctx: &Ctx<'js>,
    host: &Rc<Host>,
    internals: &Internals,
) -> Result<Object<'js>> {
    let native = Object::new(ctx.clone())?;
    host.owners.install(ctx, &native)?;
    logging(ctx, &native, host)?;
    timers(ctx, &native, host)?;
    streams(ctx, &native, host)?;
    bytes(ctx, &native)?;
    loader::functions(ctx, &native, internals)?;
    urls::functions(ctx, &native)?;
    let environment = Object::new(ctx.clone())?;
    for (name, value) in std::env::vars_os() {
        // What is not UTF-8 has no other form in JavaScript.
        environment.set(name.to_string_lossy().as_ref(), value.to_string_lossy().as_ref())?;
    }
    native.set("environment", environment)?;
    let exiting = host.clone();
    let exit = move |code: f64| end_process(&exiting, code);
    native.set("exit", Function::new(ctx.clone(), exit)?)?;
    Ok(native)
}

/// `process.exit`.
fn end_process(host: &Host, code: f64) {
    host.exit(code as i32);
}

fn logging<'js>(ctx: &Ctx<'js>, native: &Object<'js>, host: &Rc<Host>) -> Result<()> {
    let printing = host.clone();
    let print = move |level: String, text: String| {
        printing.print(level.parse().unwrap_or(Level::Info), &text);
    };
    native.set("print", Function::new(ctx.clone(), print)?)?;
    let warning = host.clone();
    native.set("warn", Function::new(ctx.clone(), move |text: String| warning.warn(&text))?)?;
    native.set("promiseState", Function::new(ctx.clone(), promise_state)?)
}

/// The state of a promise, and its value or reason.
fn promise_state<'js>(ctx: Ctx<'js>, promise: Promise<'js>) -> Result<Vec<Value<'js>>> {
    let result = match promise.result::<Value<'js>>() {
        None => return Ok(vec!["pending".into_js(&ctx)?]),
        Some(Ok(value)) => ["fulfilled".into_js(&ctx)?, value],
        Some(Err(_)) => ["rejected".into_js(&ctx)?, ctx.catch()],
    };
    Ok(result.into())
}

fn timers<'js>(ctx: &Ctx<'js>, native: &Object<'js>, host: &Rc<Host>) -> Result<()> {
    let setting = host.clone();
    let set = move |id: u32, millis: f64, is_interval: bool, description: String| {
        let delay = Duration::from_secs_f64(millis / 1000.0);
        setting.set_timer(&NewTimer { id, delay, is_interval, description: &description });
    };
    native.set("setTimer", Function::new(ctx.clone(), set)?)?;
    let clearing = host.clone();
    let clear = move |id: u32| clearing.clear_timer(id);
    native.set("clearTimer", Function::new(ctx.clone(), clear)?)?;
    let unreferencing = host.clone();
    let unreference = move |id: u32| unreferencing.unreference_timer(id);
    native.set("unreferenceTimer", Function::new(ctx.clone(), unreference)?)?;
    let referencing = host.clone();
    let reference = move |id: u32, text: String| referencing.reference_timer(id, &text);
    native.set("referenceTimer", Function::new(ctx.clone(), reference)?)?;
    let beginning = host.clone();
    let begin = move |id: u32, text: String| beginning.begin_awaited(id, &text);
    native.set("beginAwaited", Function::new(ctx.clone(), begin)?)?;
    let ending = host.clone();
    native.set("endAwaited", Function::new(ctx.clone(), move |id: u32| ending.end_awaited(id))?)?;
    let limited = host.clone();
    let remaining = move |deadline: Option<f64>| match deadline {
        // Of an invocation that is over, perhaps.
        Some(deadline) => (deadline - clock::now().wall.as_secs_f64() * 1000.0).max(0.0).floor(),
        None => limited.remaining().map_or(f64::INFINITY, |left| left.as_millis() as f64),
    };
    native.set("remaining", Function::new(ctx.clone(), remaining)?)?;
    let origin = Instant::now();
    let now = move || origin.elapsed().as_secs_f64() * 1000.0;
    native.set("now", Function::new(ctx.clone(), now)?)?;
    native.set("timeOrigin", clock::now().wall.as_secs_f64() * 1000.0)
}

fn streams<'js>(ctx: &Ctx<'js>, native: &Object<'js>, host: &Rc<Host>) -> Result<()> {
    let streaming = host.clone();
    let stream =
        move |content_type: String| streaming.stream(&StreamForm::Bytes(content_type)).err();
    native.set("stream", Function::new(ctx.clone(), stream)?)?;
    let streaming = host.clone();
    let http = move |status: u16, headers: Vec<String>, cookies: Vec<String>| {
        let headers = headers.chunks_exact(2).map(|pair| (pair[0].clone(), pair[1].clone()));
        let form = StreamForm::Http { status, headers: headers.collect(), cookies };
        streaming.stream(&form).err()
    };
    native.set("streamHttp", Function::new(ctx.clone(), http)?)?;
    let writing = host.clone();
    let write = move |ctx: Ctx<'js>, piece: Value<'js>| -> Result<f64> {
        let piece = bytes_of(&piece)?;
        let length = piece.len() as f64;
        match writing.write(piece) {
            Ok(()) => Ok(length),
            Err(reason) => Err(Exception::throw_message(&ctx, &reason.to_string())),
        }
    };
    native.set("write", Function::new(ctx.clone(), write)?)?;
    let finishing = host.clone();
    native.set("finish", Function::new(ctx.clone(), move || finishing.finish())?)
}

fn bytes<'js>(ctx: &Ctx<'js>, native: &Object<'js>) -> Result<()> {
    // A copy, since only what the engine allocates counts towards its limit.
    let encode = |ctx: Ctx<'js>, text: String| TypedArray::<u8>::new_copy(ctx, text);
    native.set("encodeUtf8", Function::new(ctx.clone(), encode)?)?;
    let decode = |ctx: Ctx<'js>, bytes: Value<'js>, is_fatal: bool| -> Result<Value<'js>> {
        let bytes = bytes_of(&bytes)?;
        if is_fatal {
            let text = String::from_utf8(bytes);
            return text
                .map_or_else(|_| Ok(Value::new_null(ctx.clone())), |text| text.into_js(&ctx));
        }
        String::from_utf8_lossy(&bytes).into_js(&ctx)
    };
    native.set("decodeUtf8", Function::new(ctx.clone(), decode)?)?;
    let to_base64 =
        |bytes: Value<'js>| Ok::<_, rquickjs::Error>(STANDARD.encode(bytes_of(&bytes)?));
    native.set("toBase64", Function::new(ctx.clone(), to_base64)?)?;
    let from_base64 = |ctx: Ctx<'js>, text: String| match FORGIVING.decode(text) {
        Ok(bytes) => TypedArray::<u8>::new_copy(ctx, bytes).map(TypedArray::into_value),
        Err(_) => Ok(Value::new_null(ctx)),
    };
    native.set("fromBase64", Function::new(ctx.clone(), from_base64)?)
}

/// The bytes of a string, a `Uint8Array` or an `ArrayBuffer`.
///
/// # Errors
///
/// A `TypeError` for another value.
pub(crate) fn bytes_of(value: &Value<'_>) -> Result<Vec<u8>> {
    if let Some(text) = value.as_string() {
        return Ok(text.to_string()?.into_bytes());
    }
    let array = value.as_object().and_then(|object| object.as_typed_array::<u8>());
    let buffer = value.as_object().and_then(Object::as_array_buffer);
    let raw = array.map(TypedArray::as_raw).or_else(|| buffer.map(ArrayBuffer::as_raw));
    match raw {
        // Without bytes, or detached.
        Some(None) => Ok(vec![]),
        Some(Some(raw)) => {
            #[expect(unsafe_code, reason = "the bytes of a typed array")]
            // SAFETY: the memory belongs to the value, which lives, and no JavaScript runs while
            // its bytes are copied, so nothing changes or detaches them.
            let bytes = unsafe { raw.as_ref() };
            Ok(bytes.to_vec())
        }
        None => {
            let message = "expected a string, a Uint8Array or an ArrayBuffer";
            Err(Exception::throw_type(value.ctx(), message))
        }
    }
}
