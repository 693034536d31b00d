//! What the simulated applications answer: the routes of the two jumpstart examples, with figures of our own.

use std::sync::LazyLock;

use axum::body::Bytes;
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::response::Response;
use serde_json::json;

use super::manifest::App;
use super::reply::{self, HTML};

const TICKERS: [&str; 6] = ["AAPL", "AMZN", "FB", "GOOG", "INTC", "MSFT"];
/// Rows of a ticker's history: trading days of nine years.
const DAYS: u32 = 2229;
const PLAIN_JSON: HeaderValue = HeaderValue::from_static("application/json");

/// Bodies that never change, made once.
struct Stock {
    ticker: &'static str,
    summary: Bytes,
    price: Bytes,
    volatility: Bytes,
    history: LazyLock<Bytes, Box<dyn FnOnce() -> Bytes + Send>>,
}

static TICKER_LIST: LazyLock<Bytes> = LazyLock::new(|| Bytes::from(json!({ "tickers": TICKERS }).to_string()));
static STOCKS: LazyLock<Vec<Stock>> =
    LazyLock::new(|| TICKERS.iter().zip(1..).map(|(t, seed)| stock(t, seed)).collect());

/// The answer to a request, `path` being what is left after the content item's own path. Files are not served here.
pub(super) fn answer(app: App, method: &Method, path: &str, query: &str) -> Response {
    if method == Method::OPTIONS {
        return allow(StatusCode::OK);
    }
    if method != Method::GET && method != Method::HEAD {
        return allow(StatusCode::METHOD_NOT_ALLOWED);
    }
    match app {
        App::Python => python(path),
        App::Plumber => plumber(path, query),
        App::Files => reply::page(StatusCode::NOT_FOUND, "Not Found"),
    }
}

fn python(path: &str) -> Response {
    match path {
        "/" => return reply::page(StatusCode::OK, "Stocks API"),
        "/stocks/" => return good(TICKER_LIST.clone()),
        "/stocks" => return reply::redirect(StatusCode::PERMANENT_REDIRECT, "stocks/"),
        "/swagger.json" => return good(swagger()),
        _ => {}
    }
    let Some(rest) = path.strip_prefix("/stocks/") else { return flask_not_found() };
    let (ticker, history) = match rest.strip_suffix("/history") {
        Some(ticker) => (ticker, true),
        None => (rest, false),
    };
    if ticker.contains('/') {
        return flask_not_found();
    }
    match STOCKS.iter().find(|stock| stock.ticker == ticker) {
        Some(stock) if history => good((*stock.history).clone()),
        Some(stock) => good(stock.summary.clone()),
        None => {
            let body = json!({"message": format!("Ticker `{ticker}` not found")});
            reply::body(StatusCode::NOT_FOUND, PLAIN_JSON, Bytes::from(body.to_string()))
        }
    }
}

fn plumber(path: &str, query: &str) -> Response {
    if path != "/price" && path != "/volatility" {
        let body = Bytes::from_static(br#"{"error":"404 - Resource Not Found"}"#);
        return reply::body(StatusCode::NOT_FOUND, PLAIN_JSON, body);
    }
    let asked = query.split('&').find_map(|pair| pair.strip_prefix("ticker="));
    match STOCKS.iter().find(|stock| Some(stock.ticker) == asked) {
        Some(stock) => good(if path == "/price" { stock.price.clone() } else { stock.volatility.clone() }),
        None => {
            let list = TICKERS.join(", ");
            let body = json!({"error": [format!("Invalid ticker. It must be one of {list}.")]});
            reply::body(StatusCode::BAD_REQUEST, PLAIN_JSON, Bytes::from(body.to_string()))
        }
    }
}

fn good(body: Bytes) -> Response {
    reply::body(StatusCode::OK, PLAIN_JSON, body)
}

fn allow(status: StatusCode) -> Response {
    let mut response = reply::body(status, HTML, Bytes::new());
    response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET, HEAD, OPTIONS"));
    response
}

fn flask_not_found() -> Response {
    reply::page(StatusCode::NOT_FOUND, "Not Found")
}

fn swagger() -> Bytes {
    let get = json!({"get": {"responses": {"200": {"description": "Success"}}}});
    let document = json!({
        "swagger": "2.0",
        "info": {"title": "Stocks API", "version": "0.1.0"},
        "paths": {"/stocks/": get, "/stocks/{ticker}": get, "/stocks/{ticker}/history": get},
    });
    Bytes::from(document.to_string())
}

fn stock(ticker: &'static str, seed: u32) -> Stock {
    let close = close_cents(seed, DAYS - 1);
    let (price, volatility) = (f64::from(close) / 100.0, f64::from(100 + seed * 37) / 1e4);
    Stock {
        ticker,
        summary: Bytes::from(json!({"ticker": ticker, "price": price, "volatility": volatility}).to_string()),
        price: Bytes::from(json!({"ticker": [ticker], "price": [price]}).to_string()),
        volatility: Bytes::from(json!({"ticker": [ticker], "volatility": [volatility]}).to_string()),
        history: LazyLock::new(Box::new(move || history(ticker, seed))),
    }
}

fn history(ticker: &str, seed: u32) -> Bytes {
    let mut day = jiff::civil::date(2011, 1, 3);
    let mut rows = Vec::new();
    for n in 0..DAYS {
        let close = close_cents(seed, n);
        let cents = |offset: u32| f64::from(close + offset) / 100.0;
        rows.push(json!({
            "ticker": ticker, "date": day.to_string(), "open": cents(11), "high": cents(97), "low": cents(3),
            "close": cents(0), "volume": 1_000_000 + wave(seed, n) * 1000, "adjusted": cents(0),
        }));
        let step = if day.weekday() == jiff::civil::Weekday::Friday { 3 } else { 1 };
        day = day.checked_add(jiff::Span::new().days(step)).unwrap_or(day);
    }
    Bytes::from(serde_json::Value::Array(rows).to_string())
}

fn close_cents(seed: u32, day: u32) -> u32 {
    seed * 2_000 + day * 5 + wave(seed, day)
}

/// A number in 0..1000 that looks like noise and is always the same.
fn wave(seed: u32, day: u32) -> u32 {
    (seed.wrapping_mul(2_654_435_761) ^ day.wrapping_mul(40_503)).wrapping_mul(2_246_822_519) >> 22
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::BodyExt as _;
    use serde_json::Value;

    async fn get(app: App, path: &str, query: &str) -> (u16, Value) {
        let response = answer(app, &Method::GET, path, query);
        let status = response.status().as_u16();
        let bytes = response.into_body().collect().await.unwrap().to_bytes();
        (status, serde_json::from_slice(&bytes).unwrap_or(Value::Null))
    }

    #[tokio::test]
    async fn the_flask_example_answers_its_routes() {
        let (status, body) = get(App::Python, "/stocks/", "").await;
        assert_eq!((status, &body["tickers"]), (200, &json!(["AAPL", "AMZN", "FB", "GOOG", "INTC", "MSFT"])));
        let (status, body) = get(App::Python, "/stocks/AAPL", "").await;
        assert!(status == 200 && body["ticker"] == "AAPL" && body["price"].is_f64() && body["volatility"].is_f64());
        let (status, body) = get(App::Python, "/stocks/FB/history", "").await;
        assert_eq!((status, body.as_array().map(Vec::len)), (200, Some(2229)));
        assert_eq!(get(App::Python, "/stocks/X", "").await, (404, json!({"message": "Ticker `X` not found"})));
        assert_eq!(get(App::Python, "/", "").await.0, 200);
        assert_eq!(get(App::Python, "/nothing", "").await.0, 404);
        assert_eq!(answer(App::Python, &Method::POST, "/stocks/", "").status(), 405);
    }

    #[tokio::test]
    async fn the_plumber_example_answers_its_routes() {
        let (status, body) = get(App::Plumber, "/price", "ticker=AMZN").await;
        assert!(status == 200 && body["ticker"] == json!(["AMZN"]));
        assert_eq!(get(App::Plumber, "/volatility", "x=1&ticker=FB").await.0, 200);
        assert_eq!(get(App::Plumber, "/price", "ticker=NOPE").await.0, 400);
        assert_eq!(get(App::Plumber, "/price", "").await.0, 400);
        assert_eq!(get(App::Plumber, "/", "").await.0, 404);
    }
}
