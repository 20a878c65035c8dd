// Commands and programs that subscribe as the page does. No DOM.

import { subscribeLine } from "./protocol.js";

export const TOOLS = ["nc", "curl", "Python", "C++"];

const shell = (text) => `'${text.replaceAll("'", "'\\''")}'`;
const quoted = (text) => JSON.stringify(text);  // a string literal of Python and C++
const UNITS_MS = { ms: 1, s: 1000, m: 60_000, h: 3_600_000 };

// "5s" in ms; null if `text` is no duration.
export function durationMs(text) {
  const [, number, unit] = /^(\d+)(ms|s|m|h)$/.exec(text) ?? [];
  return number === undefined ? null : Number(number) * UNITS_MS[unit];
}

const isOffset = (since) => /^\d+$/.test(since);
const isToken = (since) => since.includes(":");

// `gateway` is {host, port, origin}, from the page's own address.
export function commandText(tool, request, gateway) {
  switch (tool) {
    case "nc":
      return `printf '%s\\n' ${shell(subscribeLine(request))} | nc -N ${gateway.host.replace(/^\[|\]$/g, "")} ${gateway.port}`;
    case "curl":
      return `curl -N ${shell(`${gateway.origin}/v1/events?${eventsQuery(request)}`)}`;
    case "Python":
      return pythonText(request, gateway.host);
    default:
      return cppText(request, gateway.host);
  }
}

export function eventsQuery(request) {
  const parts = [`topic=${encodeURIComponent(request.pattern)}`];
  if (request.last) parts.push("last");
  for (const name of ["every", "since", "policy"]) {
    if (request[name]) parts.push(`${name}=${encodeURIComponent(request[name])}`);
  }
  return parts.join("&");
}

function pythonText(request, host) {
  const lines = ["from backplane import Control, Event, Subscriber", ""];
  lines.push(`with Subscriber(${quoted(request.pattern)}, egress="tcp://${host}:5571",`);
  const options = ["since", "every"].filter((name) => request[name]).map((name) => `, ${name}=${quoted(request[name])}`);
  lines.push(`                control="tcp://${host}:5572"${options.join("")}) as subscriber:`);
  lines.push("    subscriber.wait_live()");
  if (request.last) {
    lines.push(`    for event in Control("tcp://${host}:5572").last(${quoted(request.pattern)}):`);
    lines.push("        print(event.topic, event.stamp.offset, event.body, flush=True)");
  }
  lines.push("    while True:");
  lines.push("        item = subscriber.receive(timeout=60)");
  lines.push("        if isinstance(item, Event):");
  lines.push("            print(item.topic, item.stamp.offset, item.body, flush=True)");
  lines.push("        elif item is not None:");
  lines.push("            print(item, flush=True)  # a Gap, or a Reset");
  if (!request.last) lines[0] = "from backplane import Event, Subscriber";
  return lines.join("\n");
}

function cppText(request, host) {
  const fields = [];
  if (request.last) fields.push(".last = true");
  if (isToken(request.since)) fields.push(`.since_token = ${quoted(request.since)}`);
  else if (isOffset(request.since)) fields.push(`.since_offset = ${request.since}`);
  if (request.every && durationMs(request.every) !== null) {
    fields.push(`.every = std::chrono::milliseconds{${durationMs(request.every)}}`);
  }
  const options = fields.length > 0 ? `, {${fields.join(", ")}}` : "";
  return [
    "#include <backplane/client.hpp>",
    "#include <chrono>",
    "#include <iostream>",
    "",
    "using backplane::Client;",
    "",
    "int main() {",
    "  Client::Options at;",
    `  at.brokers = {{"tcp://${host}:5571", "tcp://${host}:5572"}};`,
    "  Client client(at);",
    `  client.subscribe(${quoted(request.pattern)}${options});`,
    "  while (true) {",
    "    const Client::Item* item = client.next(std::chrono::minutes{1});",
    "    if (item == nullptr) continue;  // a quiet minute",
    "    if (const auto* event = std::get_if<Client::Event>(item)) {",
    "      std::cout << event->topic() << ' ' << client.payload_json(*event) << std::endl;",
    "    } else if (const auto* gap = std::get_if<Client::Gap>(item)) {",
    "      std::cout << gap->topic << \": \" << gap->first << \" to \" << gap->last << \" lost\" << std::endl;",
    "    }",
    "  }",
    "}",
  ].join("\n");
}

// Which options of the request the command ignores, as a sentence; "" if none.
export function omitted(tool, request) {
  const missing = [];
  if (tool === "C++" && request.since && !isToken(request.since) && !isOffset(request.since)) missing.push("since");
  if ((tool === "Python" || tool === "C++") && request.policy) missing.push("policy, which only gateways have");
  return missing.length === 0 ? "" : `Ignores ${missing.join(" and ")}.`;
}
