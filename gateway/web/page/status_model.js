// The state of the brokers and of this gateway, from $SYS events and /v1/status. Names: docs/operations.md.

const SOURCES_MAX = 1000;

// The newest counters, and their rates since the update before.
export class Figures {
  counters = {};
  #before = null;
  #at = null;
  #beforeAt = null;

  update(counters, now) {
    this.#before = this.counters;
    this.#beforeAt = this.#at;
    // 64-bit numbers are strings in the JSON of typed payloads.
    this.counters = Object.fromEntries(Object.entries(counters).map(([name, value]) => [name, Number(value)]));
    this.#at = now;
  }

  get(name) {
    return this.counters[name] ?? 0;
  }

  rate(name) {
    if (this.#beforeAt === null || this.#at <= this.#beforeAt) return null;
    const grown = this.get(name) - (this.#before[name] ?? 0);
    // Less than before: the counter was reset.
    return grown < 0 ? null : grown / ((this.#at - this.#beforeAt) / 1000);
  }

  // [label, value] of all counters `name.LABEL` above 0, largest first.
  labelled(name) {
    const prefix = `${name}.`;
    return Object.entries(this.counters)
      .filter(([each, value]) => each.startsWith(prefix) && value > 0)
      .map(([each, value]) => [each.slice(prefix.length), value])
      .sort((a, b) => b[1] - a[1]);
  }
}

export class StatusModel {
  brokers = new Map();  // by backplane: {figures, stream, updatedMs}
  sources = new Map();  // by name: {up, reason}
  gateway = null;  // {backplane, broker, figures}

  // @returns whether the event was about status.
  event(event) {
    const data = event.data;
    if (data === undefined || data === null) return false;
    if (/^\$SYS\.broker\..+\.stats$/.test(event.topic) && data.counters) {
      let broker = this.brokers.get(data.backplane);
      if (!broker || broker.stream !== event.stream) {
        broker = { figures: new Figures(), stream: event.stream };
        this.brokers.set(data.backplane, broker);
      }
      broker.figures.update(data.counters, Date.parse(event.received));
      broker.updatedMs = Date.now();
      return true;
    }
    if (event.topic.startsWith("$SYS.source.")) {
      if (this.sources.size < SOURCES_MAX || this.sources.has(data.name)) {
        this.sources.set(data.name, { up: data.up === true, reason: data.reason ?? "" });
      }
      return true;
    }
    return false;
  }

  // Takes a reply of /v1/status.
  update({ backplane, broker, counters }, now) {
    this.gateway ??= { figures: new Figures() };
    Object.assign(this.gateway, { backplane, broker });
    this.gateway.figures.update(counters ?? {}, now);
  }

  // All losses: [[where, reason, count], …].
  drops() {
    const drops = [];
    if (this.gateway) {
      const { figures } = this.gateway;
      for (const [reason, lost] of figures.labelled("dropped_total")) drops.push(["to clients", reason, lost]);
      for (const [reason, lost] of figures.labelled("lost_total")) drops.push(["from broker", reason, lost]);
    }
    for (const [name, { figures }] of this.brokers) {
      const at = this.brokers.size > 1 ? ` ${name}` : "";
      for (const [reason, lost] of figures.labelled("rejected_total")) drops.push([`refused${at}`, reason, lost]);
      if (figures.get("lossy_sends_total") > 0) {
        drops.push([`from broker${at}`, "full_subscriber", figures.get("lossy_sends_total")]);
      }
      if (figures.get("lost_before_total") > 0) {
        drops.push([`before broker${at}`, "lost_before", figures.get("lost_before_total")]);
      }
    }
    return drops;
  }
}
