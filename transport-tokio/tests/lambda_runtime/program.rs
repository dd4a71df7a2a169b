//! Whole programs, as Lambda starts them.
#![cfg(unix)]

use lambda_proto_service::program::{Program, Signal, behaviour, say};
use lambda_proto_service::{Event, Service as Lambda};
use lambda_proto_tokio::lambda_runtime::{
    Error, LambdaEvent, run, run_concurrent, service_fn, spawn_graceful_shutdown_handler,
};
use tokio::sync::Barrier;

/// What the environment says about the function.
const FUNCTION: [(&str, &str); 3] = [
    ("AWS_LAMBDA_FUNCTION_NAME", "orders"),
    ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "512"),
    ("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST"),
];

const CONCURRENCY: (&str, &str) = ("AWS_LAMBDA_MAX_CONCURRENCY", "2");

/// The function of the tests below, which run it in its own process.
#[test]
#[ignore = "not a test: other tests run it as a program"]
fn program() {
    let Some(behaviour) = behaviour() else { return };
    let tokio = tokio::runtime::Runtime::new().expect("threads");
    match tokio.block_on(function(&behaviour)) {
        Ok(()) => say("the end of main"),
        Err(error) => say(&format!("the error of main: {error}")),
    }
    std::process::exit(0);
}

async fn describe(event: LambdaEvent<u32>) -> Result<String, Error> {
    let config = &event.context.env_config;
    #[cfg(feature = "tracing")]
    lambda_proto_tokio::lambda_runtime::tracing::info!("described");
    Ok(format!("{} {} {} {}", event.payload, config.function_name, config.memory, config.version))
}

async fn function(behaviour: &str) -> Result<(), Error> {
    #[cfg(feature = "tracing")]
    lambda_proto_tokio::lambda_runtime::tracing::init_default_subscriber();
    let all = &Barrier::new(2);
    let meet = service_fn(move |event: LambdaEvent<u32>| async move {
        all.wait().await;
        describe(event).await
    });
    match behaviour {
        "meets" => run(meet).await,
        "is concurrent" => run_concurrent(service_fn(describe)).await,
        "shuts down" | "shuts down and is concurrent" => {
            for hook in ["first", "second"] {
                spawn_graceful_shutdown_handler(move || async move {
                    tokio::task::yield_now().await;
                    say(&format!("the {hook} hook"));
                })
                .await;
            }
            match behaviour {
                "shuts down" => run(service_fn(describe)).await,
                _ => run_concurrent(service_fn(describe)).await,
            }
        }
        _ => run(service_fn(describe)).await,
    }
}

fn start(lambda: &Lambda, behaviour: &str, variables: &[(&str, &str)]) -> Program {
    Program::start_test("program::program", &lambda.address(), behaviour, variables)
}

#[test]
fn a_program_reads_its_environment_and_serves_as_many_invocations_as_lambda_announces() {
    for behaviour in ["meets", "is concurrent"] {
        let lambda = Lambda::start();
        let variables = [&FUNCTION[..], &[CONCURRENCY]].concat();
        let program = start(&lambda, behaviour, &variables);
        let mut connections = lambda.open_slots(2);
        for connection in &mut connections {
            connection.send(Event::new("id-1", "7").bytes());
        }
        for connection in &mut connections {
            assert_eq!(connection.request().body, br#""7 orders 512 $LATEST""#, "{behaviour}");
            connection.take_answer();
            connection.expect_next();
        }
        if cfg!(feature = "tracing") {
            program.lines().wait_for("described");
            program.lines().wait_for("id-1");
        }
    }
}

#[test]
fn a_program_without_variables_of_the_function_runs() {
    let lambda = Lambda::start();
    let _program = start(&lambda, "", &[]);
    let mut connection = lambda.connection();
    connection.invoke(Event::new("id-1", "7"));
    assert_eq!(connection.request().body, br#""7  0 ""#);
    connection.take_answer();
    connection.expect_next();
}

#[test]
fn a_variable_of_the_runtime_that_is_invalid_is_the_error_of_main() {
    let lambda = Lambda::start();
    let mut program = start(&lambda, "", &[("AWS_LAMBDA_MAX_CONCURRENCY", "many")]);
    program.expect_end();
    program.lines().wait_for("the error of main: AWS_LAMBDA_MAX_CONCURRENCY");
}

#[test]
fn hooks_run_after_sigterm_and_then_main_ends() {
    for behaviour in ["shuts down", "shuts down and is concurrent"] {
        let lambda = Lambda::start();
        let mut program = start(&lambda, behaviour, &FUNCTION);
        let _extension = lambda.register_extension();
        let mut connection = lambda.connection();
        connection.invoke(Event::new("id-1", "7"));
        connection.request().assert_response("id-1");
        connection.take_answer();
        connection.expect_next();
        program.signal(Signal::TERM);
        program.expect_end();
        for line in ["the first hook", "the second hook", "the end of main"] {
            assert!(program.has_said(line), "{line}: {:?}", program.lines().all());
        }
    }
}
