//! `capacity --usage`: the server's own history, by its instrumentation API.

use std::time::Duration;

use anyhow::anyhow;

use super::failure::Failure;
use super::target;
use crate::capacity::sizing::answer::Answer;
use crate::capacity::sizing::usage::Tally;
use crate::cli::CapacityArgs;
use crate::host::Environment;
use crate::posit_connect::Client;

/// So much history is asked for at once: a day of a busy server would be a document of its own kind.
const PIECE: Duration = Duration::from_secs(6 * 3600);

/// Asks the server, and puts its busiest hour into the answer, or why it is not there into the notes.
pub(super) async fn read(args: &CapacityArgs, length: Duration, answer: &mut Answer) -> Result<(), Failure> {
    if length < Duration::from_secs(3600) || length > Duration::from_secs(366 * 86_400) {
        return Err(Failure::usage("--usage: from 1h to 366d"));
    }
    let client = Client::new(target::connect(&args.run.server)?).map_err(Failure::api)?;
    let end = Environment::now().started;
    let outside = |e: jiff::Error| Failure::from(anyhow!("a time of the history: {e}"));
    let mut from = end.checked_sub(length).map_err(outside)?;
    let mut tally = Tally::default();
    while from < end {
        let to = from.checked_add(PIECE).map_err(outside)?.min(end);
        // Both ends are included: the first instant of a piece is not the last of the one before.
        let last = to.checked_sub(Duration::from_nanos(1)).map_err(outside)?;
        let told = client.hits(&from.to_string(), &last.to_string()).await.map_err(Failure::api)?;
        let Some(hits) = told else {
            let why = "The server does not tell its usage: it is older than 2025.04, or the key is not a publisher's.";
            answer.notes.push(why.to_owned());
            return Ok(());
        };
        for hit in hits {
            if let Ok(at) = hit.timestamp.parse::<jiff::Timestamp>() {
                tally.add(at.as_second(), &hit.content_guid);
            }
        }
        from = to;
    }
    let days = length.as_secs_f64() / 86_400.0;
    answer.usage = tally.usage(days, answer.requests_per_second);
    answer.notes.push(match &answer.usage {
        Some(_) => "Usage is what the server logs of requests to content that the key may see, the runs of this tool among them: not \
                    what it serves besides, and not what an action costs where it differs from the measured fetch."
            .to_owned(),
        None => "The server logged no request to content in the time that was asked for.".to_owned(),
    });
    Ok(())
}
