// The connection to the server's feed: asks from the last step on, and comes back by itself after a break.

const FIRST_WAIT = 500;
const LONGEST_WAIT = 15000;
// The server speaks at least every 15 s; after a longer silence the line is taken for dead (a sleeping laptop).
const SILENCE = 40000;
const BAD_TICKET = 4401;

export class Feed {
  // `have()` gives {run id: last step}; `hear(message)` takes a message; `status(text)` is "" while connected.
  constructor({ have, hear, status, renew }) {
    Object.assign(this, { have, hear, status, renew });
    this.wait = FIRST_WAIT;
    this.address = null;
    this.metrics = [];
    this.socket = null;
  }

  // Connects to `address` unless that is where the feed is already; null hangs up.
  open(address, metrics) {
    const same = address === this.address;
    const sameMetrics = metrics.join() === this.metrics.join();
    this.metrics = metrics;
    if (same && (this.socket || !address)) {
      if (!sameMetrics) this.resync();
      return;
    }
    this.hangUp();
    this.address = address;
    this.wait = FIRST_WAIT;
    if (address) this.connect();
    else this.status("");
  }

  connect() {
    const url = new URL(this.address, location.origin);
    url.protocol = location.protocol === "https:" ? "wss:" : "ws:";
    const socket = new WebSocket(url);
    this.socket = socket;
    socket.onopen = () => {
      this.wait = FIRST_WAIT;
      this.status("");
      this.ask(this.have());
      this.listen();
    };
    socket.onmessage = (event) => {
      this.listen();
      const message = JSON.parse(event.data);
      if (Object.keys(message).length) this.hear(message);
    };
    socket.onclose = (event) => {
      if (this.socket !== socket) return;
      this.hangUp();
      this.status("reconnecting…");
      if (event.code === BAD_TICKET) this.renew();
      this.retry = setTimeout(() => this.connect(), this.wait * (0.75 + Math.random() / 2));
      this.wait = Math.min(2 * this.wait, LONGEST_WAIT);
    };
  }

  listen() {
    clearTimeout(this.watchdog);
    const socket = this.socket;
    // A dead line answers no closing handshake either, so its end is declared here.
    this.watchdog = setTimeout(() => socket?.onclose?.({ code: 0 }), SILENCE);
  }

  ask(after) {
    if (this.socket?.readyState === WebSocket.OPEN) {
      this.socket.send(JSON.stringify({ after, metrics: this.metrics }));
    }
  }

  // Everything again, from the first point.
  resync() {
    this.ask(Object.fromEntries(Object.keys(this.have()).map((id) => [id, 0])));
  }

  hangUp() {
    clearTimeout(this.retry);
    clearTimeout(this.watchdog);
    const socket = this.socket;
    this.socket = null;
    if (socket) {
      socket.onopen = socket.onmessage = socket.onclose = null;
      socket.close();
    }
  }

  close() {
    this.hangUp();
    this.address = null;
  }
}
