#!/usr/bin/python3
"""Writes the seeds of corpus/http_request.

Run from anywhere; files that a fuzzer found and that were put beside the seeds are left alone.
"""
from make_session_seeds import write


def request(line="GET / HTTP/1.1", *fields, body=""):
    return "\r\n".join([line, "Host: localhost:1601", *fields, "", body])


def post(*fields, body=""):
    return request("POST /v1/topics/news.uk HTTP/1.1", *fields, body=body)


def get(target, *fields):
    """A request that the target's site accepts."""
    return "\r\n".join([f"GET {target} HTTP/1.1", "Host: x", *fields, "", ""])


CHUNKED = "Transfer-Encoding: chunked"

SEEDS = {
    "empty": "",
    "token": get("/v1/topics?pattern=stock.%3E", "Authorization: Bearer  dashboard:secret"),
    "token_of_another_scheme": get("/v1/status", "Authorization: Basic ZDpz"),
    "token_in_the_query": get("/v1/topics?access_token=dashboard%3Asecret"),
    "token_not_printable": get("/v1/topics?access_token=d%3A%0d%0aX: y"),
    "two_tokens": get("/v1/events", "Authorization: Bearer a:b", "Authorization: Bearer c:d"),
    "topics_bad_pattern": get("/v1/topics?pattern=a%0d%0ab"),
    "page_gzip": get("/", "Accept-Encoding: br;q=1, gzip;q=0.5", 'If-None-Match: "x"'),
    "other_origin": get("/v1/status", "Origin: https://evil.example"),
    "allowed_origin": "OPTIONS /v1/topics/a HTTP/1.1\r\nHost: x\r\nOrigin: https://page.example\r\n\r\n",
    "no_such_path": get("/v1/%0d%0aSet-Cookie:%20a"),
    "publish_to_x": "POST /v1/topics/news.%75k HTTP/1.1\r\nHost: x\r\nContent-Type: text/plain; charset=utf-8\r\n"
                    "Content-Length: 2\r\n\r\n\xc3\xa9",
    "publish_system": "POST /v1/topics/%24SYS.x HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n",
    "method_unknown": "BREW / HTTP/1.1\r\nHost: x\r\n\r\n",
    "page": request(),
    "events": request("GET /v1/events?topic=stock.%3E&last&since=10m HTTP/1.1", "Last-Event-ID: 00c0ffee0000002a:9",
                      "Accept: text/event-stream"),
    "publish": post("Content-Length: 5", body="Hello"),
    "publish_chunked": post(CHUNKED, body="3\r\nHel\r\n2;name=value\r\nlo\r\n0\r\nTrailer: x\r\n\r\n"),
    "publish_chunked_nothing": post(CHUNKED, body="0\r\n\r\n"),
    "publish_expects": post("Expect: 100-continue", "Content-Length: 5", body="Hello"),
    "several": "\r\n" + request() + post("Content-Length: 1", body="x") + request("HEAD /healthz HTTP/1.1"),
    "two_empty_lines": "\r\n\r\n" + request(),
    "upgrade": request("GET /v1/socket HTTP/1.1", "Upgrade: websocket", "Connection: Upgrade",
                       "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", "Sec-WebSocket-Version: 13"),
    "http_1_0": "GET / HTTP/1.0\r\n\r\n",
    "http_1_0_keeps": "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
    "http_2": request("GET / HTTP/2.0"),
    "absolute": request("GET http://other:1/x?y HTTP/1.1"),
    "absolute_without_path": request("GET HTTPS://other?y HTTP/1.1"),
    "options": request("OPTIONS * HTTP/1.1"),
    "star": request("GET * HTTP/1.1"),
    "fragment": request("GET /#x HTTP/1.1"),
    "no_host": "GET / HTTP/1.1\r\n\r\n",
    "two_hosts": request("GET / HTTP/1.1", "host: other"),
    "two_lengths": post("Content-Length: 5", "Content-Length: 5", body="Hello"),
    "length_and_coding": post("Content-Length: 5", CHUNKED, body="0\r\n\r\n"),
    "length_with_sign": post("Content-Length: +5", body="Hello"),
    "length_too_large": post("Content-Length: 257"),
    "length_endless": post("Content-Length: 18446744073709551616"),
    "two_codings": post("Transfer-Encoding: gzip, chunked", body="0\r\n\r\n"),
    "folded": request("GET / HTTP/1.1", "X: a\r\n b"),
    "bare_lf": "GET / HTTP/1.1\nHost: x\n\n",
    "bare_cr": "GET / HTTP/1.1\rHost: x\r\n\r\n",
    "space_before_colon": request("GET / HTTP/1.1", "X : a"),
    "nul_in_a_field": request("GET / HTTP/1.1", "X: a\0b"),
    "not_ascii": request("GET /\xe4 HTTP/1.1", "X: \xff"),
    "no_chunk": post(CHUNKED, body="x\r\n"),
    "chunk_negative": post(CHUNKED, body="-1\r\n"),
    "chunk_too_large": post(CHUNKED, body="101\r\n" + "x" * 257 + "\r\n0\r\n\r\n"),
    "chunk_endless": post(CHUNKED, body="fffffffffffffffff\r\n"),
    "chunk_with_long_extension": post(CHUNKED, body="1;" + "x" * 600 + "\r\ny\r\n0\r\n\r\n"),
    "chunk_without_end": post(CHUNKED, body="1\r\nxy"),
    "trailers_too_long": post(CHUNKED, body="0\r\n" + "X: y\r\n" * 200 + "\r\n"),
    "head_too_long": request("GET / HTTP/1.1", "X: " + "x" * 600),
    "line_too_long": request("GET /" + "x" * 600 + " HTTP/1.1"),
    "lf_behind_the_limit": "GET / HTTP/1.1\r\nX: ".ljust(512, "x") + "\n\r\n\r\n",
    "half": request()[:-3],
    "rubbish": "\x00\x01\xfe" * 20,
}


if __name__ == "__main__":
    write("http_request", {name: b"\x06" + content.encode("latin-1") for name, content in SEEDS.items()})
