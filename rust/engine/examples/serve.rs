//! The engine without Python, for profiles and by hand: `serve PORT SPOOL [HOST:PORT]`.
//!
//! Takes mail for anybody on 127.0.0.1:PORT; with a third argument relays everything there, else keeps it waiting.
//! Prints figures every two seconds. Ends with the process: what was acknowledged is in the spool.

use std::net::{SocketAddr, TcpListener};
use std::os::fd::IntoRawFd;
use std::sync::Arc;
use std::time::Duration;

use angarium_engine::engine::{Engine, Settings};
use angarium_engine::event::{Event, Level};
use angarium_engine::policy::Policy;
use serde::Serialize;

#[derive(Serialize)]
struct Route<'a> {
    r#type: &'a str,
    kind: &'a str,
    site: &'a str,
}

#[derive(Serialize)]
struct Plan {
    hosts: Vec<Host>,
    port: u16,
    connections: u32,
}

#[derive(Serialize)]
struct Host {
    name: String,
    addresses: Vec<String>,
}

/// Valid for as long as anybody would run this.
const FOR_EVER: u64 = 1 << 52;

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, port, spool, next @ ..] = &arguments[..] else { panic!("serve PORT SPOOL [HOST:PORT]") };
    let next: Option<SocketAddr> = next.first().map(|text| text.parse().expect("HOST:PORT"));
    let settings = Settings { spool: spool.clone(), node: 1, segment_bytes: 64 << 20, workers: 0 };
    let engine = Arc::new(Engine::open(settings).expect("the spool opens"));
    let mut policy = Policy { accept_any: true, ..Policy::default() };
    policy.limits.sessions = 100_000;
    policy.limits.sessions_per_address = 100_000;
    engine.recover(&rmp_serde::to_vec_named(&policy).expect("a table")).expect("recovery begins");
    wait_until_recovered(&engine);
    let listener = TcpListener::bind(("127.0.0.1", port.parse().expect("a port"))).expect("the port is free");
    let acceptor = engine.clone();
    std::thread::spawn(move || accept(&listener, &acceptor));
    println!("listening");
    decide(&engine, next);
}

fn wait_until_recovered(engine: &Engine) {
    loop {
        for event in engine.drain(64) {
            if let Event::Done(done) = event {
                println!("recovered: {}", done.result.map_or_else(|problem| problem.text, |_| "well".into()));
                return;
            }
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn accept(listener: &TcpListener, engine: &Engine) {
    while let Ok((socket, peer)) = listener.accept() {
        for (fd, reply) in engine.adopt(0, &[(socket.into_raw_fd(), peer)]).expect("it runs") {
            println!("refused {fd}: {reply:?}");
        }
    }
}

/// What Python would do: one lane for everything.
fn decide(engine: &Engine, next: Option<SocketAddr>) {
    let mut rounds = 0u32;
    loop {
        std::thread::sleep(Duration::from_millis(5));
        for event in engine.drain(64) {
            match event {
                Event::Flag(Level::RouteWanted) => set_routes(engine),
                Event::Flag(Level::PlanWanted) => set_plans(engine, next),
                _ => {}
            }
        }
        rounds += 1;
        if rounds.is_multiple_of(400) {
            print_figures(engine);
        }
    }
}

fn set_routes(engine: &Engine) {
    let route = Route { r#type: "route", kind: "smtp", site: "next" };
    let route = rmp_serde::to_vec_named(&route).expect("a table");
    for wanted in engine.wanted_routes(64).expect("it runs") {
        engine.set_route(wanted.key, &route, FOR_EVER, FOR_EVER).expect("it runs");
    }
}

fn set_plans(engine: &Engine, next: Option<SocketAddr>) {
    let Some(next) = next else { return };
    let host = Host { name: "next".into(), addresses: vec![next.ip().to_string()] };
    let plan = Plan { hosts: vec![host], port: next.port(), connections: 4 };
    let plan = rmp_serde::to_vec_named(&plan).expect("a table");
    for wanted in engine.wanted_plans(64).expect("it runs") {
        engine.set_plan(wanted.lane.0, &plan, FOR_EVER).expect("it runs");
    }
}

fn print_figures(engine: &Engine) {
    let figures = engine.figures().expect("it runs");
    let show = |name: &str| figures.counts.get(name).or_else(|| figures.now.get(name)).copied().unwrap_or(0);
    let names = ["received", "delivered", "deferred", "failed", "groups", "sessions", "entries", "withdrawn"];
    let line: Vec<String> = names.iter().map(|name| format!("{name} {}", show(name))).collect();
    println!("{}", line.join("  "));
}
