//! Events, results, errors, the context and the console.
#![allow(missing_docs)]

mod support;

use lambda_lab::Event;
use support::{Running, module};

#[test]
fn json_is_what_json_parse_and_json_stringify_say() {
    let running = module("export const handler = (event) => event;").start();
    for (event, answer) in [
        ("9007199254740993", "9007199254740992"),
        ("1e400", "null"),
        ("-0", "0"),
        (r#"{"b":1,"a":2,"b":3,"7":4}"#, r#"{"7":4,"b":3,"a":2}"#),
        (r#""\ud800""#, r#""\ud800""#),
        ("\"\u{1f600}\\u0000\"", "\"\u{1f600}\\u0000\""),
        (" [ ] ", "[]"),
        ("1.50", "1.5"),
    ] {
        assert_eq!(running.text(event), answer, "{event}");
    }
    for event in [&b"{"[..], b"", b"[1,]", b"\"\xff\"", b"nul"] {
        running.fails(event, "Runtime.UnmarshalError", "not what the function expects");
    }
    let code = "export const handler = (event) => ({
        undefined, function: () => 1, symbol: Symbol('s'), bigint: 1n, nan: NaN, date: new Date(0),
        map: new Map([[1, 2]]), circular: (() => { const o = {}; o.o = o; return o; })(),
        own: { toJSON: () => 'own' }, throws: { toJSON() { throw new RangeError('no'); } } })[event];";
    let running = module(code).start();
    for (event, answer) in
        [("undefined", "null"), ("nan", "null"), ("map", "{}"), ("own", r#""own""#)]
    {
        assert_eq!(running.text(format!("{event:?}")), answer);
    }
    assert_eq!(running.text(r#""date""#), r#""1970-01-01T00:00:00.000Z""#);
    for event in ["function", "symbol", "bigint", "circular", "throws"] {
        running.fails(format!("{event:?}"), "Runtime.MarshalError", "cannot be written as JSON");
    }
}

const ERRORS: &str = "class OrderNotFound extends Error {}
class Named extends Error { constructor(message) { super(message); this.name = 'PaymentFailed'; } }
const fail = (error) => { throw error; };
export const handler = async (event) => ({
  class: () => fail(new OrderNotFound('no order 7')),
  named: () => fail(new Named('no money')),
  builtin: () => null.x,
  cause: () => fail(new TypeError('outer', { cause: new RangeError('inner', { cause: 'root' }) })),
  string: () => fail('text'),
  object: () => fail({ code: 7 }),
  undefined: () => fail(undefined),
  aggregate: () => Promise.any([Promise.reject(1)]),
  getter: () => fail(Object.defineProperty(new Error('x'), 'message', { get() { throw 1; } })),
})[event]();";

#[test]
fn an_error_has_the_name_of_its_class_its_stack_and_its_cause() {
    let running = module(ERRORS).start();
    let fails = |event: &str, error_type: &str, message: &str| {
        running.fails(format!("{event:?}"), error_type, message)
    };
    let trace = fails("class", "OrderNotFound", "no order 7");
    assert!(trace.starts_with("at class (") && trace.contains("index.mjs:5:"), "{trace}");
    assert!(!trace.contains("lambda-quickjs:") && !trace.contains("native"), "{trace}");
    fails("named", "PaymentFailed", "no money");
    fails("builtin", "TypeError", "");
    let trace = fails("cause", "TypeError", "outer");
    assert!(trace.starts_with("caused by: RangeError: inner\ncaused by: root\nat "), "{trace}");
    fails("string", "string", "text");
    fails("object", "object", "{ code: 7 }");
    fails("undefined", "undefined", "undefined");
    fails("aggregate", "AggregateError", "");
    fails("getter", "Error", "cannot be described");
}

#[test]
fn the_context_is_as_in_node() {
    let source = "export const handler = async (event, context) => {
        const { awsRequestId, functionName, memoryLimitInMB, clientContext, identity, tenantId } = context;
        const left = context.getRemainingTimeInMillis();
        await 1;
        return [typeof awsRequestId, functionName, memoryLimitInMB, clientContext, identity, tenantId,
            left > 1000 && left <= 120000, context.xRayTraceId === context.traceId && context.traceId, process.env._X_AMZN_TRACE_ID, process.env.SOME, context.signal.aborted];
    };";
    let running = module(source).variable("SOME", "value").start();
    let event = Event::json("1")
        .unwrap()
        .client_context(r#"{"custom":{"a":1}}"#)
        .tenant_id("blue")
        .trace_id("Root=1-a");
    let text = running.text(event);
    assert!(text.starts_with(r#"["string","#), "{text}");
    assert!(
        text.contains(r#""512",{"custom":{"a":1}},null,"blue",true,"Root=1-a","Root=1-a"#),
        "{text}"
    );
    assert!(text.ends_with(r#""value",false]"#), "{text}");
}

#[track_caller]
fn logged(code: &str) -> String {
    let source = format!("export const handler = async () => {{ {code} }};");
    let running: Running = module(&source).records().start();
    running.text("1");
    let messages: Vec<_> = running
        .records()
        .iter()
        .map(|record| {
            format!("{} {}", record["level"].as_str().unwrap(), record["message"].as_str().unwrap())
        })
        .collect();
    messages.join("\n")
}

#[test]
fn the_console_has_levels_and_prints_objects_as_node_does() {
    let code = r#"
        console.log('a', 1, -0, 2n, null, undefined, true, Symbol('s'));
        console.error('%s is %d years, %i, %f, %j %o %% %x', 'Ada', 36.5, 36.5, '1.5', { a: 1 }, [1], 'rest');
        console.warn({ a: 1, 'b-c': 'it\'s', nested: { deep: { deeper: { deepest: 1 } } } });
        console.debug([1, 'two', [3, [4, [5, [6]]]]], [], {}, [ , 1]);
        console.trace;
        console.info(new Map([['k', { v: 1 }]]), new Set([1, 'a']), new Date(0), /x/g, () => {}, function named() {}, class A {}, class B extends Map {});
        class Point { x = 1; get y() { return 2; } }
        console.log(new Point(), Object.create(null), new Uint8Array([1, 2, 3]), { get a() { return 1; }, set a(v) {}, [Symbol('k')]: 1 });
        const loop = { name: 'loop' }; loop.self = loop; console.log(loop);
        console.log({ long: 'x'.repeat(60), other: 'y'.repeat(20) });
        console.log(Array.from({ length: 30 }, (_, i) => i));
        console.log(Array.from({ length: 27 }, (_, i) => 'item' + i * i * i));
        console.log(Promise.resolve(1), new Promise(() => {}), new ArrayBuffer(3), Object.assign(() => {}, { a: 1 }), Object.assign([1], { k: 2 }));
        console.log({ a: 'multi\nline', b: 'q\'"`' }, new (class Foo extends Map {})([[1, 2]]), { async g() {}, *h() {} });
        console.log([new Error('e')].length, new Number(3), 'it\'s', ['it\'s']);
        console.group('g'); console.log('in\nside'); console.groupEnd(); console.log('out');
        console.assert(false, 'no %s', 'way'); console.assert(true, 'never'); console.count(); console.count();
    "#;
    let expected = r#"INFO a 1 -0 2n null undefined true Symbol(s)
ERROR Ada is 36.5 years, 36, 1.5, {"a":1} [ 1, [length]: 1 ] % %x rest
WARN { a: 1, 'b-c': "it's", nested: { deep: { deeper: [Object] } } }
DEBUG [ 1, 'two', [ 3, [ 4, [Array] ] ] ] [] {} [ <1 empty item>, 1 ]
INFO Map(1) { 'k' => { v: 1 } } Set(2) { 1, 'a' } 1970-01-01T00:00:00.000Z /x/g [Function (anonymous)] [Function: named] [class A] [class B extends Map]
INFO Point { x: 1 } [Object: null prototype] {} Uint8Array(3) [ 1, 2, 3 ] { a: [Getter/Setter], Symbol(k): 1 }
INFO <ref *1> { name: 'loop', self: [Circular *1] }
INFO {
  long: 'xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx',
  other: 'yyyyyyyyyyyyyyyyyyyy'
}
INFO [
   0,  1,  2,  3,  4,  5,  6,  7,  8,
   9, 10, 11, 12, 13, 14, 15, 16, 17,
  18, 19, 20, 21, 22, 23, 24, 25, 26,
  27, 28, 29
]
INFO [
  'item0',     'item1',     'item8',
  'item27',    'item64',    'item125',
  'item216',   'item343',   'item512',
  'item729',   'item1000',  'item1331',
  'item1728',  'item2197',  'item2744',
  'item3375',  'item4096',  'item4913',
  'item5832',  'item6859',  'item8000',
  'item9261',  'item10648', 'item12167',
  'item13824', 'item15625', 'item17576'
]
INFO Promise { 1 } Promise { <pending> } ArrayBuffer { [Uint8Contents]: <00 00 00>, [byteLength]: 3 } [Function (anonymous)] { a: 1 } [ 1, k: 2 ]
INFO { a: 'multi\nline', b: 'q\'"`' } Foo(1) [Map] { 1 => 2 } { g: [AsyncFunction: g], h: [GeneratorFunction: h] }
INFO 1 [Number: 3] it's [ "it's" ]
INFO g
INFO   in
  side
INFO out
WARN Assertion failed: no way
INFO default: 1
INFO default: 2"#;
    assert_eq!(logged(code), expected.replace(" [ 1, [length]: 1 ]", " [ 1 ]"));
}

#[test]
fn raw_output_is_handed_through_byte_for_byte() {
    let source = "export const handler = () => { console.log('{\"raw\":1}\\nnext'); return 1; };";
    let running = module(source).variable("LAMBDA_QUICKJS_OUTPUT", "raw").start();
    running.to_the_end("1");
    assert!(running.log().contains("{\"raw\":1}\nnext\n"), "{}", running.log());
    assert!(running.log().lines().any(|line| line == "next"));
}

#[test]
fn the_small_pieces_of_the_web_are_there() {
    let code = r#"
        const { EventEmitter, once } = await import('node:events');
        const out = [];
        out.push([...new TextEncoder().encode('é\ud800')], new TextDecoder().decode(new Uint8Array([0xef, 0xbb, 0xbf, 0xc3, 0xa9, 0xff])));
        const decoder = new TextDecoder('utf-8', { fatal: true });
        out.push(decoder.decode(new Uint8Array([0xc3]), { stream: true }) + decoder.decode(new Uint8Array([0xa9])));
        try { decoder.decode(new Uint8Array([0xff])); } catch (error) { out.push(error.name); }
        out.push(btoa('\xff\0'), atob(' /w A= '), (() => { try { atob('*'); } catch (e) { return e.name; } })());
        const original = { date: new Date(0), map: new Map([[1, { a: 1 }]]), bytes: new Uint8Array([1]) }; original.self = original;
        const copy = structuredClone(original);
        out.push(copy !== original && copy.self === copy && copy.map.get(1).a === 1 && copy.bytes[0] === 1 && copy.date.getTime() === 0);
        out.push((() => { try { structuredClone(() => 1); } catch (e) { return e.name; } })());
        const controller = new AbortController(); let fired = 0;
        controller.signal.addEventListener('abort', () => fired++); controller.abort(new Error('why')); controller.abort();
        out.push(fired, controller.signal.reason.message, AbortSignal.any([AbortSignal.abort(7)]).reason);
        const target = new EventTarget(); target.addEventListener('x', { handleEvent: (e) => out.push(e.detail) }, { once: true });
        target.dispatchEvent(new CustomEvent('x', { detail: 'd' })); target.dispatchEvent(new CustomEvent('x', { detail: 'no' }));
        const emitter = new EventEmitter(); emitter.once('a', (v) => out.push(v)); emitter.emit('a', 1); out.push(emitter.emit('a', 2));
        setTimeout(() => emitter.emit('late', 'value'), 1); out.push(await once(emitter, 'late'));
        out.push((() => { try { emitter.emit('error', new RangeError('r')); } catch (e) { return e.name; } })());
        out.push(performance.now() > 0, typeof performance.timeOrigin);
        return out;"#;
    let source = format!("export const handler = async () => {{ {code} }};");
    let running = module(&source).start();
    assert_eq!(
        running.text("1"),
        "[[195,169,239,191,189],\"é\u{fffd}\",\"é\",\"TypeError\",\"/wA=\",\"ÿ\\u0000\",\"InvalidCharacterError\",true,\"DataCloneError\",1,\"why\",7,\"d\",1,false,[\"value\"],\"RangeError\",true,\"number\"]"
    );
}
