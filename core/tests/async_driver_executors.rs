//! The async driver on tokio, and on smol's executor, with sockets. The test `async_driver` runs it
//! on an executor of ten lines.

use core::future::poll_fn;
use core::pin::pin;
use core::task::{Poll, ready};
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::Duration;

use embedded_io_async::{ErrorType, Read, Write};
use lambda_proto::api::{ContentType, Endpoint, ErrorReport};
use lambda_proto::async_driver::{Connection, Connector, Driver, DriverError};
use lambda_proto::client::{End, VecStorage};
use lambda_proto::machine::Machine;
use lambda_proto_service::{Event, Service};

type Failed = embedded_io_async::ErrorKind;

struct OnTokio(tokio::net::TcpStream);

impl ErrorType for OnTokio {
    type Error = Failed;
}

impl Read for OnTokio {
    async fn read(&mut self, room: &mut [u8]) -> Result<usize, Failed> {
        loop {
            self.0.readable().await.map_err(|_| Failed::Other)?;
            match self.0.try_read(room) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                result => return result.map_err(|_| Failed::Other),
            }
        }
    }
}

impl Write for OnTokio {
    async fn write(&mut self, bytes: &[u8]) -> Result<usize, Failed> {
        loop {
            self.0.writable().await.map_err(|_| Failed::Other)?;
            match self.0.try_write(bytes) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                result => return result.map_err(|_| Failed::Other),
            }
        }
    }

    async fn flush(&mut self) -> Result<(), Failed> {
        Ok(())
    }
}

impl Connection for OnTokio {}

/// Leaves the waker with the socket, where it stays when the future is dropped.
struct Polled(tokio::net::TcpStream);

impl ErrorType for Polled {
    type Error = Failed;
}

impl Read for Polled {
    async fn read(&mut self, room: &mut [u8]) -> Result<usize, Failed> {
        poll_fn(|context| {
            loop {
                ready!(self.0.poll_read_ready(context)).map_err(|_| Failed::Other)?;
                match self.0.try_read(room) {
                    Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                    result => return Poll::Ready(result.map_err(|_| Failed::Other)),
                }
            }
        })
        .await
    }
}

impl Write for Polled {
    async fn write(&mut self, bytes: &[u8]) -> Result<usize, Failed> {
        poll_fn(|context| {
            loop {
                ready!(self.0.poll_write_ready(context)).map_err(|_| Failed::Other)?;
                match self.0.try_write(bytes) {
                    Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                    result => return Poll::Ready(result.map_err(|_| Failed::Other)),
                }
            }
        })
        .await
    }

    async fn flush(&mut self) -> Result<(), Failed> {
        Ok(())
    }
}

impl Connection for Polled {}

struct OnSmol(async_io::Async<TcpStream>);

impl ErrorType for OnSmol {
    type Error = Failed;
}

impl Read for OnSmol {
    async fn read(&mut self, room: &mut [u8]) -> Result<usize, Failed> {
        self.0.read_with(|mut stream| stream.read(room)).await.map_err(|_| Failed::Other)
    }
}

impl Write for OnSmol {
    async fn write(&mut self, bytes: &[u8]) -> Result<usize, Failed> {
        self.0.write_with(|mut stream| stream.write(bytes)).await.map_err(|_| Failed::Other)
    }

    async fn flush(&mut self) -> Result<(), Failed> {
        Ok(())
    }
}

impl Connection for OnSmol {}

/// A driver for this service.
fn driver<C: Connector>(address: &str, connector: C) -> Driver<C, VecStorage> {
    let memory = || VecStorage::new(0, usize::MAX);
    let machine = Machine::new(Endpoint::parse(address).unwrap());
    Driver::new(machine, connector, memory(), memory())
}

/// Returns the event, in the way that it asks for, until the session ends.
async fn echo<C: Connector>(
    driver: &mut Driver<C, VecStorage>,
) -> Result<(), DriverError<C::Error>> {
    driver
        .run(async |invocation, responder| match invocation.way() {
            Way::Stream => {
                let mut stream = responder.stream(ContentType::TEXT);
                for piece in invocation.body().chunks(3) {
                    if stream.write(piece).await.is_err() {
                        break;
                    }
                }
                Ok(stream.finish().await)
            }
            Way::Fail => Err(ErrorReport::new("Function.Broken", "it broke")),
            Way::Pipeline => Ok(responder.send_and_next(invocation.body()).await),
            Way::Send => Ok(responder.send(invocation.body()).await),
        })
        .await
}

enum Way {
    Send,
    Pipeline,
    Stream,
    Fail,
}

trait Ways {
    fn way(&self) -> Way;
}

impl Ways for lambda_proto::client::Invocation<'_> {
    fn way(&self) -> Way {
        match self.body() {
            b"stream" => Way::Stream,
            b"fail" => Way::Fail,
            b"pipeline" => Way::Pipeline,
            _ => Way::Send,
        }
    }
}

/// Runs a program against a service that invokes it in each way, and then ends it.
fn serves<E: core::fmt::Debug + Send + 'static>(
    program: impl FnOnce(String) -> Result<(), DriverError<E>> + Send + 'static,
) {
    let service = Service::start();
    let address = service.address();
    let program = thread::spawn(move || program(address));
    let mut connection = service.connection();
    let large = vec![b'x'; 3_000_000];
    let events: [&[u8]; 6] = [b"send", b"stream", b"pipeline", b"fail", b"pipeline", &large];
    for (number, body) in events.into_iter().enumerate() {
        connection.invoke(Event::new(&format!("id{number}"), body));
        let answer = connection.request();
        if body == b"fail" {
            assert!(answer.path.ends_with("/error"), "{}", answer.path);
        } else {
            assert!(answer.body == body, "not the event {number}");
        }
        connection.take_answer();
    }
    connection.expect_next();
    connection.answer(500, "", "");
    let ended = program.join().expect("it has not panicked");
    assert!(matches!(ended, Err(DriverError::Ended(End::Service(_)))), "{ended:?}");
}

struct ToTokio(SocketAddr);

impl Connector for ToTokio {
    type Connection = OnTokio;
    type Error = ErrorKind;

    async fn connect(&mut self, _losses: u32) -> Result<OnTokio, ErrorKind> {
        let stream = tokio::net::TcpStream::connect(self.0).await;
        stream.map(OnTokio).map_err(|error| error.kind())
    }
}

#[test]
fn it_runs_on_tokio() {
    serves(|address| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let to: SocketAddr = address.parse().unwrap();
        runtime.block_on(echo(&mut driver(&address, ToTokio(to))))
    });
}

#[test]
fn a_task_that_may_move_between_threads_takes_invocations_itself() {
    const EVENTS: usize = 3;
    let service = Service::start();
    let address = service.address();
    let program = thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async move {
            // `spawn` takes only what is `Send`.
            let task = tokio::spawn(async move {
                let to: SocketAddr = address.parse().unwrap();
                let mut driver = driver(&address, ToTokio(to));
                for _ in 0..EVENTS {
                    let next = driver.next().await.unwrap();
                    let (invocation, responder) = next.expect("nothing stops it");
                    tokio::task::yield_now().await;
                    responder.send(invocation.body()).await;
                }
            });
            task.await.expect("it has not panicked");
        });
    });
    let mut connection = service.connection();
    for number in 0..EVENTS {
        connection.invoke(Event::new(&format!("id{number}"), "send"));
        assert_eq!(connection.request().body, b"send");
        connection.take_answer();
    }
    program.join().expect("it has not panicked");
}

#[test]
fn a_poll_function_that_keeps_no_future_sends_pieces_and_is_woken() {
    const PIECES: usize = 3;
    let service = Service::start();
    let address = service.address();
    let program = thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async move {
            let to: SocketAddr = address.parse().unwrap();
            let mut driver = driver(&address, async move |_: u32| {
                tokio::net::TcpStream::connect(to).await.map(Polled).map_err(|e| e.kind())
            });
            let (invocation, responder) = driver.next().await.unwrap().unwrap();
            let mut stream = responder.stream(ContentType::TEXT);
            let mut dropped = 0;
            for _ in 0..PIECES {
                let piece = poll_fn(|context| {
                    let piece = pin!(stream.write_on(invocation.body())).poll(context);
                    dropped += usize::from(piece.is_pending());
                    piece
                });
                piece.await.unwrap();
            }
            stream.finish().await;
            dropped
        })
    });
    let mut connection = service.connection();
    // More than the buffers of a socket hold.
    let body = vec![b'x'; 10_000_000];
    connection.invoke(Event::new("id", body.clone()));
    assert!(connection.request().body == body.repeat(PIECES), "not the event, three times");
    connection.take_answer();
    assert!(program.join().expect("it has not panicked") > 0);
}

#[test]
fn it_runs_on_smol() {
    serves(|address| {
        let executor = async_executor::LocalExecutor::new();
        async_io::block_on(executor.run(async {
            let to: SocketAddr = address.parse().unwrap();
            let mut driver = driver(&address, async move |_: u32| {
                async_io::Async::<TcpStream>::connect(to).await.map(OnSmol).map_err(|e| e.kind())
            });
            let task = executor.spawn(async move { echo(&mut driver).await });
            task.await
        }))
    });
}

#[test]
fn a_wait_that_is_cancelled_again_and_again_loses_nothing() {
    const EVENTS: usize = 20;
    let service = Service::start();
    let address = service.address();
    let program = thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async move {
            let to: SocketAddr = address.parse().unwrap();
            let mut driver = driver(&address, ToTokio(to));
            let mut cancelled = 0;
            let mut served = 0;
            while served < EVENTS {
                let next = tokio::time::timeout(Duration::from_micros(200), driver.next()).await;
                match next {
                    Ok(next) => {
                        let (invocation, responder) = next.unwrap().unwrap();
                        responder.send(invocation.body()).await;
                        served += 1;
                    }
                    Err(_) => cancelled += 1,
                }
            }
            cancelled
        })
    });
    let mut connection = service.connection();
    for number in 0..EVENTS {
        let body = vec![b'x'; 100_000];
        connection.expect_next();
        // The wait lasts longer than its time limit, in the head and in the body of the event.
        let event = Event::new(&format!("id{number}"), body.clone()).bytes();
        for piece in [&event[..20], &event[20..60_000], &event[60_000..]] {
            thread::sleep(Duration::from_millis(2));
            connection.send(piece);
        }
        assert!(connection.request().body == body, "not the event {number}");
        connection.take_answer();
    }
    assert!(program.join().expect("it has not panicked") > 0);
}
