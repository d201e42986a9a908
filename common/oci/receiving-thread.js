/**
 * The thread of ThreadReceiver (receiver.ts): hashes pieces and appends them to a file. In, for one file after another: `{ fd }`, then
 * `{ piece, length, isNew }`, whose memory is handed over, or `'digest'`, and `'end'`. Out, in the same order: `{ piece }`, the memory handed
 * back, `{ digest }`, or `{ code, message }` once, after which nothing is done until the end; `{ isIdle: true }` then. Plain JavaScript, because
 * Node loads it into the thread by itself.
 */
import { createHash } from 'node:crypto';
import { writeSync } from 'node:fs';
import { parentPort } from 'node:worker_threads';

let fd = -1;
let hash;
let hasFailed = false;

/** All of it: a write may take less than it was given. */
function append(bytes) {
  for (let at = 0; at < bytes.length; ) at += writeSync(fd, bytes, at);
}

function begin(order) {
  fd = order.fd;
  hash = createHash('sha256');
  hasFailed = false;
}

function answerTo(order) {
  if (order === 'digest') return [{ digest: hash.digest('hex') }];
  const bytes = new Uint8Array(order.piece, 0, order.length);
  hash.update(bytes);
  if (order.isNew) append(bytes);
  return [{ piece: order.piece }, [order.piece]];
}

parentPort.on('message', (order) => {
  if (order.fd !== undefined) return begin(order);
  if (order === 'end') return parentPort.postMessage({ isIdle: true });
  if (hasFailed) return;
  try {
    parentPort.postMessage(...answerTo(order));
  } catch (cause) {
    hasFailed = true;
    parentPort.postMessage({ code: cause.code ?? '', message: cause.message });
  }
});
