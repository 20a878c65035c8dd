// Runs npm's WebSocket client for ws_client_test.py: one line of JSON per command, and one per reply.

import { once } from "node:events";
import WebSocket from "ws";

import { serve } from "../integration/command_loop.mjs";

const timeout = Number(process.argv[2]);
const clients = new Map();

class Client {
  constructor(url, options) {
    this.messages = [];
    this.pongs = [];
    this.closed = null;
    this.changed = () => {};
    this.socket = new WebSocket(url, options);
    this.opened = new Promise((resolve, reject) => {
      this.socket.on("open", resolve);
      this.socket.on("unexpected-response", (request, response) => {
        reject(new Error(`status ${response.statusCode}`));
        request.destroy();  // or its kept-alive connection would keep this process running
      });
      this.socket.on("error", reject);
    });
    this.socket.on("message", (data, binary) => {
      this.messages.push(binary ? { binary: data.toString("hex") } : data.toString());
      this.changed();
    });
    this.socket.on("pong", (data) => {
      this.pongs.push(data.toString());
      this.changed();
    });
    this.socket.on("close", (code, reason) => {
      this.closed = { code, reason: reason.toString() };
      this.changed();
    });
  }

  // Waits until the condition is true; checked after each message.
  until(condition) {
    return new Promise((resolve, reject) => {
      const late = setTimeout(() => reject(new Error(`nothing more came; there is ${JSON.stringify(
        { messages: this.messages.slice(-3), pongs: this.pongs, closed: this.closed })}`)), timeout);
      this.changed = () => {
        if (!condition() && !this.closed) return;
        clearTimeout(late);
        this.changed = () => {};
        if (condition()) resolve();
        else reject(new Error(`it was closed: ${JSON.stringify(this.closed)} after ${this.messages.slice(-3)}`));
      };
      this.changed();
    });
  }

  async take(count) {
    await this.until(() => this.messages.length >= count);
    return this.messages.splice(0, count);
  }
}

const commands = {
  async connect(name, url, options) {
    const client = new Client(url, options);
    await client.opened;
    clients.set(name, client);
    return { extensions: client.socket.extensions, protocol: client.socket.protocol };
  },
  send: (name, ...texts) => texts.forEach((text) => clients.get(name).socket.send(text)),
  send_binary: (name, hex) => clients.get(name).socket.send(Buffer.from(hex, "hex")),
  // Sends one message with one frame per piece.
  send_pieces: (name, ...pieces) => pieces.forEach((piece, number) =>
    clients.get(name).socket.send(piece, { fin: number === pieces.length - 1 })),
  ping: (name, data) => clients.get(name).socket.ping(data),
  take: (name, count) => clients.get(name).take(count),
  async pong(name) {
    const client = clients.get(name);
    await client.until(() => client.pongs.length > 0);
    return client.pongs.shift();
  },
  async close_with(name, code, reason) {
    const client = clients.get(name);
    client.socket.close(code, reason);
    await client.until(() => client.closed);
    return client.closed;
  },
  async closed(name) {
    const client = clients.get(name);
    await client.until(() => client.closed);
    return client.closed;
  },
  async crowd(count, url, ...lines) {
    await Promise.all(Array.from({ length: count }, async (_, number) => {
      const client = new Client(url);
      await client.opened;
      clients.set(`crowd ${number}`, client);
      lines.forEach((line) => client.socket.send(line));
    }));
  },
  // The next messages of each client of the crowd, up to this number.
  take_each: (count, each) => Promise.all(
    Array.from({ length: count }, (_, number) => clients.get(`crowd ${number}`).take(each))),
  async close() {
    await Promise.all([...clients.values()].map(async ({ socket }) => {
      if (socket.readyState === WebSocket.CLOSED) return;
      const closed = once(socket, "close");
      socket.terminate();
      await closed;
    }));
  },
};

await serve(commands);
