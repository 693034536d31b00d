//! So many requests by the real engine on one thread, for `benches/instructions`, which counts their instructions.
//!
//! `request serve same|unique` answers until its standard input ends, and says where; `request own|hyper HOST:PORT VUS REQUESTS`
//! makes so many requests there.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a bench that cannot go on fails, and prints its figures"
)]

#[path = "../tests/allocations/fetching.rs"]
mod fetching;

use std::io::Read as _;

use connect_bench::plan::Http1Engine;
use fetching::Heads;
use tokio::runtime::{Builder, LocalOptions};

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments.as_slice() {
        ["serve", heads @ ("same" | "unique")] => {
            println!("{}", fetching::serve(if *heads == "same" { Heads::Same } else { Heads::Unique }));
            // Until whoever started it lets go.
            let _ = std::io::stdin().read(&mut [0]);
        }
        [engine @ ("own" | "hyper"), address, vus, requests] => {
            let engine = if *engine == "own" { Http1Engine::Own } else { Http1Engine::Hyper };
            let runtime = Builder::new_current_thread().enable_all().build_local(LocalOptions::default()).unwrap();
            let (address, vus, requests) = (address.parse().unwrap(), vus.parse().unwrap(), requests.parse().unwrap());
            let all = runtime.block_on(fetching::run(address, engine, vus, requests));
            println!("{} requests, {} of them with the kernel's time", requests, all.series[0].generator_delay.count());
        }
        _ => println!("request serve same|unique | request own|hyper HOST:PORT VUS REQUESTS; see benches/instructions"),
    }
}
