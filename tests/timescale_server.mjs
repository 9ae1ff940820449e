// TimescaleDB in WebAssembly behind a TCP socket, for tests: node timescale_server.mjs PACKAGE_FOLDER
// Prints {"port": N} when ready; ends when its standard input does, so it never outlives its owner.
// The engine has one session. It takes whole messages only and cannot wait for more in the middle of a COPY, so
// messages are put together here, and a COPY FROM STDIN reaches it in one piece.
import net from 'node:net';
import { pathToFileURL } from 'node:url';

const dist = `${pathToFileURL(process.argv[2])}/dist`;
const { PGlite } = await import(`${dist}/index.js`);
const { timescaledb } = await import(`${dist}/timescaledb/index.js`);

// The session before may still be closing; longer than that means a second one at the same time.
const QUEUE_MS = 10_000;
const SSL_REQUEST = 80877103, CANCEL_REQUEST = 80877102, GSS_REQUEST = 80877104;
// Whatever makes a client wait for an answer ends a batch: query, sync, flush, call, password, copy done, copy fail.
const BATCH_ENDS = new Set([...'QSHFpcfX'].map((letter) => letter.charCodeAt(0)));
const COPY_IN = /^\s*copy\b[\s\S]*\bfrom\s+stdin\b/i;

const db = await PGlite.create({ extensions: { timescaledb } });
await db.exec("SET search_path TO public; CREATE EXTENSION IF NOT EXISTS timescaledb");

const waiting = [];
let current = null;

async function ask(message) {
  return Buffer.from(await db.execProtocolRaw(message));
}

function refusal(text) {
  const body = Buffer.from(`SFATAL\0VFATAL\0C53300\0M${text}\0\0`);
  const head = Buffer.alloc(5, 'E');
  head.writeInt32BE(body.length + 4, 1);
  return Buffer.concat([head, body]);
}

function batchLength(bytes) {
  for (let at = 0; bytes.length - at >= 5; ) {
    const next = at + 1 + bytes.readInt32BE(at + 1);
    if (next > bytes.length) return 0;
    if (BATCH_ENDS.has(bytes[at])) return next;
    at = next;
  }
  return 0;
}

class Session {
  constructor(socket) {
    this.socket = socket;
    this.chunks = [];
    this.started = false;
    this.copy = null;
    this.work = Promise.resolve();
    socket.on('data', (data) => this.then(() => this.received(data)));
    socket.on('close', () => this.then(() => this.closed()));
    socket.resume();
  }

  then(step) {
    this.work = this.work.then(step).catch((error) => {
      console.error(error);
      process.exit(1);
    });
  }

  async received(data) {
    this.chunks.push(data);
    let bytes = Buffer.concat(this.chunks);
    for (;;) {
      const length = this.started ? batchLength(bytes) : startLength(bytes);
      if (!length) break;
      const batch = bytes.subarray(0, length);
      bytes = bytes.subarray(length);
      await (this.started ? this.batch(batch) : this.start(batch));
    }
    this.chunks = [bytes];
  }

  async start(message) {
    const code = message.readInt32BE(4);
    if (code === SSL_REQUEST || code === GSS_REQUEST) return void this.socket.write('N');
    if (code === CANCEL_REQUEST) return void this.socket.end();
    this.started = true;
    this.socket.write(await ask(message));
  }

  async batch(batch) {
    const kind = String.fromCharCode(batch[0]);
    if (kind === 'X') return void this.socket.end();
    if (this.copy) return void (await this.copied(batch));
    const query = kind === 'Q' ? batch.toString('utf8', 5, batch.length - 1) : '';
    if (!COPY_IN.test(query)) return void this.socket.write(await ask(batch));
    // A copy: say "go on" in the engine's place, and hand it the query together with all the rows.
    this.copy = Buffer.from(batch);
    this.socket.write(Buffer.from([0x47, 0, 0, 0, 7, /\bbinary\b/i.test(query) ? 1 : 0, 0, 0]));
  }

  async copied(rows) {
    const answer = await ask(Buffer.concat([this.copy, rows]));
    this.copy = null;
    const itsGoOn = answer[0] === 0x47 ? 1 + answer.readInt32BE(1) : 0;
    this.socket.write(answer.subarray(itsGoOn));
  }

  async closed() {
    await db.exec('ROLLBACK');
    await db.exec('DISCARD ALL');
    await db.exec('SET search_path TO "$user", public');
    current = null;
    admit();
  }
}

function startLength(bytes) {
  return bytes.length >= 8 && bytes.length >= bytes.readInt32BE(0) ? bytes.readInt32BE(0) : 0;
}

function admit() {
  const next = current === null ? waiting.shift() : undefined;
  if (!next) return;
  clearTimeout(next.timer);
  current = new Session(next.socket);
}

const server = net.createServer({ pauseOnConnect: true }, (socket) => {
  socket.setNoDelay(true);
  socket.on('error', () => socket.destroy());
  const entry = { socket };
  entry.timer = setTimeout(() => {
    waiting.splice(waiting.indexOf(entry), 1);
    socket.end(refusal('this TimescaleDB takes one connection at a time; close the other one first'));
  }, QUEUE_MS);
  waiting.push(entry);
  admit();
});
process.stdin.on('end', () => process.exit(0)).resume();
server.listen(0, '127.0.0.1', () => console.log(JSON.stringify({ port: server.address().port })));
