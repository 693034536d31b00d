//! What the engines write: the same request, byte for byte.

use std::rc::Rc;

use bytes::Bytes;
use connect_bench::engine::program::Exchange;
use connect_bench::http::{Client, Guard};
use connect_bench::outcome::Ended;
use connect_bench::plan::Http1Engine::{self, Hyper, Own};
use http::Method;
use http::header::{ACCEPT, AUTHORIZATION, CONNECTION, CONTENT_TYPE, COOKIE, HOST, HeaderValue, USER_AGENT};

use super::cases::After;
use super::pipe::{FINE, Scripted, config, exchange, in_virtual_time, swept};

/// What a server received of some exchanges on one client, and how they ended.
fn written(engine: Http1Engine, response: &[u8], exchanges: &[Rc<Exchange>]) -> (String, Vec<Ended>) {
    in_virtual_time(async {
        let server = Scripted::new(vec![response.to_vec()], After::Open);
        let mut client = Client::new(Rc::new(server.clone()), Rc::new(config(engine)));
        let guard = Guard::default();
        let mut ends = Vec::new();
        for exchange in exchanges {
            ends.push(swept(&guard, client.exchange(exchange, &guard)).await.ended);
        }
        let received = String::from_utf8_lossy(&server.received.borrow()).into_owned();
        (received, ends)
    })
}

fn same(response: &[u8], exchanges: Vec<Exchange>) -> String {
    let exchanges: Vec<Rc<Exchange>> = exchanges.into_iter().map(Rc::new).collect();
    let (hyper, own) = (written(Hyper, response, &exchanges), written(Own, response, &exchanges));
    assert_eq!(hyper, own);
    assert!(own.1.iter().all(|ended| *ended == Ended::Completed), "{own:?}");
    own.0
}

#[test]
fn a_plain_get() {
    let sent = same(FINE, vec![exchange(Method::GET)]);
    assert_eq!(sent, "GET /stocks/AAPL?x=1 HTTP/1.1\r\nhost: pipe\r\n\r\n");
}

#[test]
fn headers_in_their_order() {
    let mut get = exchange(Method::GET);
    get.request.headers.insert(USER_AGENT, HeaderValue::from_static("connect-bench/test"));
    get.request.headers.insert(ACCEPT, HeaderValue::from_static("*/*"));
    get.request.headers.append("x-twice", HeaderValue::from_static("1"));
    get.request.headers.append("x-twice", HeaderValue::from_static("2"));
    get.request.headers.insert(AUTHORIZATION, HeaderValue::from_static("Key abc"));
    let sent = same(FINE, vec![get]);
    assert!(sent.contains("x-twice: 1\r\nx-twice: 2\r\nauthorization: Key abc\r\nhost: pipe\r\n"), "{sent}");
}

#[test]
fn a_body_goes_with_its_length() {
    let mut post = exchange(Method::POST);
    post.request.headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    post.request.body = Bytes::from_static(b"{\"a\":1}");
    let sent = same(FINE, vec![post, exchange(Method::GET)]);
    assert!(sent.contains("content-length: 7\r\n\r\n{\"a\":1}GET "), "{sent}");
}

#[test]
fn an_empty_body() {
    same(FINE, vec![exchange(Method::POST), exchange(Method::DELETE), exchange(Method::PUT)]);
}

#[test]
fn a_host_of_ones_own_is_replaced() {
    let mut get = exchange(Method::GET);
    get.request.headers.insert(HOST, HeaderValue::from_static("elsewhere"));
    get.request.headers.insert(ACCEPT, HeaderValue::from_static("*/*"));
    let sent = same(FINE, vec![get]);
    assert!(sent.contains("host: pipe\r\naccept") && !sent.contains("elsewhere"), "{sent}");
}

#[test]
fn cookies_come_back_and_replace_those_of_the_request() {
    let mut get = exchange(Method::GET);
    get.request.headers.insert(COOKIE, HeaderValue::from_static("own=1"));
    let set = b"HTTP/1.1 200 OK\r\nset-cookie: a=1; Path=/\r\ncontent-length: 2\r\n\r\nab";
    let sent = same(set, vec![exchange(Method::GET), exchange(Method::GET), get]);
    assert_eq!(sent.matches("cookie: a=1\r\n").count(), 2, "{sent}");
    assert!(!sent.contains("own"), "{sent}");
}

#[test]
fn a_request_that_asks_for_the_close_is_the_last_on_its_connection() {
    let dials = |engine| {
        in_virtual_time(async {
            let server = Scripted::new(vec![FINE.to_vec()], After::Open);
            let mut client = Client::new(Rc::new(server.clone()), Rc::new(config(engine)));
            let guard = Guard::default();
            let mut get = exchange(Method::GET);
            get.request.headers.insert(CONNECTION, HeaderValue::from_static("close"));
            let get = Rc::new(get);
            for _ in 0..3 {
                assert_eq!(swept(&guard, client.exchange(&get, &guard)).await.ended, Ended::Completed);
            }
            server.dials.get()
        })
    };
    assert_eq!((dials(Hyper), dials(Own)), (3, 3));
}

#[test]
fn a_megabyte_goes_out_whole() {
    for engine in [Hyper, Own] {
        let mut put = exchange(Method::PUT);
        put.request.body = Bytes::from(vec![7; 3 << 20]);
        let body = put.request.body.clone();
        let received = in_virtual_time(async {
            let (mut client, mut server) = (Vec::new(), Vec::new());
            let pipe = Upload { received: Rc::default(), size: body.len() };
            let mut http = Client::new(Rc::new(pipe.clone()), Rc::new(config(engine)));
            let guard = Guard::default();
            let done = swept(&guard, http.exchange(&Rc::new(put), &guard)).await;
            assert_eq!(done.ended, Ended::Completed, "{engine:?}");
            client.push(done.bytes.0);
            server.extend_from_slice(&pipe.received.borrow());
            (client, server)
        });
        let head = received.1.len() - body.len();
        assert_eq!(received.1[head..], body[..]);
        assert_eq!(received.0, [received.1.len() as u64]);
    }
}

/// Reads a whole upload through a small pipe, then answers.
#[derive(Clone)]
struct Upload {
    received: Rc<std::cell::RefCell<Vec<u8>>>,
    size: usize,
}

impl connect_bench::http::Dial for Upload {
    type Stream = tokio::io::DuplexStream;

    async fn dial(
        &self,
        _vu: u32,
    ) -> Result<connect_bench::http::Dialled<Self::Stream>, connect_bench::http::DialFault> {
        use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
        let (ours, mut theirs) = tokio::io::duplex(4096);
        let this = self.clone();
        tokio::task::spawn_local(async move {
            let mut buffer = vec![0; 1000];
            while this.received.borrow().len() < this.size {
                let Ok(read @ 1..) = theirs.read(&mut buffer).await else { return };
                this.received.borrow_mut().extend_from_slice(&buffer[..read]);
            }
            // The rest of it: the head's length beyond the body's.
            while let Ok(Ok(read @ 1..)) =
                tokio::time::timeout(std::time::Duration::from_millis(10), theirs.read(&mut buffer)).await
            {
                this.received.borrow_mut().extend_from_slice(&buffer[..read]);
            }
            let _ = theirs.write_all(FINE).await;
            let _ = theirs.read(&mut buffer).await;
        });
        Ok(connect_bench::http::Dialled::at_once(ours))
    }
}
