/**
 * The thread of ThreadReceiver (receiver.ts): hashes pieces and appends them to a file. In: `{ piece, length, isNew }`, whose memory is
 * handed over, or `'digest'`. Out, in the same order: `{ piece }`, the memory handed back, `{ digest }`, or `{ code, message }` once,
 * after which nothing is done any more. Plain JavaScript, because Node loads it into the thread by itself.
 */
import { createHash } from 'node:crypto';
import { writeSync } from 'node:fs';
import { parentPort, workerData } from 'node:worker_threads';

const hash = createHash('sha256');
let hasFailed = false;

/** All of it: a write may take less than it was given. */
function append(bytes) {
  for (let at = 0; at < bytes.length; ) at += writeSync(workerData.fd, bytes, at);
}

function obey(order) {
  if (order === 'digest') return [{ digest: hash.digest('hex') }];
  const bytes = new Uint8Array(order.piece, 0, order.length);
  hash.update(bytes);
  if (order.isNew) append(bytes);
  return [{ piece: order.piece }, [order.piece]];
}

parentPort.on('message', (order) => {
  if (hasFailed) return;
  try {
    parentPort.postMessage(...obey(order));
  } catch (cause) {
    hasFailed = true;
    parentPort.postMessage({ code: cause.code ?? '', message: cause.message });
  }
});
