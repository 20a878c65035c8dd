// The page's Credentials, and how its connections use them.

import assert from "node:assert/strict";
import { test } from "node:test";
import { Credentials } from "../../../gateway/web/page/credentials.js";
import { Connection } from "../../../gateway/web/page/connection.js";
import { Publisher } from "../../../gateway/web/page/publisher.js";

class Storage {
  values = new Map();
  getItem = (key) => this.values.get(key) ?? null;
  setItem = (key, value) => this.values.set(key, value);
  removeItem = (key) => this.values.delete(key);
}

function stage(token) {
  const changes = [];
  const credentials = new Credentials(() => changes.push(credentials.problem), new Storage());
  credentials.token = token;
  const sockets = [];
  const clock = { now: () => 0, after: () => 1, cancel: () => {} };
  const make = (url) => {
    const socket = { url, readyState: 0, sent: [], send: (line) => socket.sent.push(line), close: () => {} };
    sockets.push(socket);
    return socket;
  };
  const open = (socket) => { socket.readyState = 1; socket.onopen(); };
  return { credentials, changes, sockets, open, options: { make, clock, credentials } };
}

test("the token is kept and forgotten", () => {
  const { credentials } = stage("anna:secret");
  assert.deepEqual(credentials.headers, { Authorization: "Bearer anna:secret" });
  credentials.token = "";
  assert.equal(credentials.token, "");
  assert.deepEqual(credentials.headers, {});
});

test("a connection sends the token first, and is open when the gateway has replied", () => {
  const { sockets, open, options } = stage("anna:secret");
  let opened = 0;
  const messages = [];
  const connection = new Connection("ws://host/v1/socket", { open: () => { opened += 1; }, message: (each) => messages.push(each) }, options);
  open(sockets[0]);
  assert.deepEqual(sockets[0].sent, ["AUTH anna:secret"]);
  assert.equal(sockets[0].url, "ws://host/v1/socket");
  assert.equal(connection.send("SUB >"), false);
  assert.equal(opened, 0);
  sockets[0].onmessage({ data: "+OK AUTH anna" });
  assert.equal(opened, 1);
  assert.equal(connection.send("SUB >"), true);
  assert.deepEqual(messages, []);
});

test("without a token, nothing is sent before the commands", () => {
  const { sockets, open, options } = stage("");
  let opened = 0;
  new Connection("ws://host", { open: () => { opened += 1; } }, options);
  open(sockets[0]);
  assert.deepEqual(sockets[0].sent, []);
  assert.equal(opened, 1);
});

test("with a wrong token, the connection goes on as anonymous, and the problem is shown", () => {
  const { changes, sockets, open, options } = stage("anna:wrong");
  let opened = 0;
  new Connection("ws://host", { open: () => { opened += 1; } }, options);
  open(sockets[0]);
  sockets[0].onmessage({ data: "-ERR not_authenticated no user has this token" });
  assert.equal(opened, 1);
  assert.deepEqual(changes, ["no user has this token"]);
});

test("a refused command is shown, other errors are not", () => {
  const { credentials, changes, sockets, open, options } = stage("");
  new Connection("ws://host", {}, options);
  open(sockets[0]);
  sockets[0].onmessage({ data: "-ERR unavailable no broker" });
  sockets[0].onmessage({ data: "-ERR not_permitted b.x: user anna may not subscribe to b.x" });
  sockets[0].onmessage({ data: "-ERR not_permitted b.x: user anna may not subscribe to b.x" });
  assert.deepEqual(changes, ["b.x: user anna may not subscribe to b.x"]);
  credentials.see("anna");
  assert.equal(credentials.user, "anna");
});

test("an event is published after the token is accepted", async () => {
  const { sockets, open, options } = stage("anna:secret");
  const publisher = new Publisher("ws://host", options);
  const result = publisher.publish("a.x", "text");
  open(sockets[0]);
  sockets[0].onmessage({ data: "+OK AUTH anna" });
  assert.deepEqual(sockets[0].sent, ["AUTH anna:secret", "PUB a.x text"]);
  sockets[0].onmessage({ data: "+OK PUB a.x" });
  assert.equal((await result).ok, true);
});
