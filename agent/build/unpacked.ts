/**
 * Bytes as plain ones, however ADD's archives are packed: gzip and zstd as everywhere, bzip2 and xz by Debian's programs, which run
 * beside us with bounded memory.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { Readable } from 'node:stream';
import { ClusterError, messageOf } from '../../common/errors.ts';
import { inflated } from '../../common/oci/inflate.ts';

interface Program {
  readonly name: string;
  readonly args: readonly string[];
  readonly magic: readonly number[];
}

const PROGRAMS: readonly Program[] = [
  { name: 'bzip2', args: ['-dc'], magic: [0x42, 0x5a, 0x68] },
  { name: 'xz', args: ['-dc', '--memlimit-decompress=256MiB'], magic: [0xfd, 0x37, 0x7a, 0x58, 0x5a, 0x00] },
];
const MAGIC_BYTES = 6;

/** @throws ClusterError `invalid` for broken bytes, `unavailable` when the program is not installed; what `source` throws */
export async function* unpacked(source: AsyncIterable<Uint8Array>, name: string): AsyncGenerator<Uint8Array> {
  const chunks = source[Symbol.asyncIterator]();
  try {
    let head: Buffer = Buffer.alloc(0);
    while (head.length < MAGIC_BYTES) {
      const next = await chunks.next();
      if (next.done === true) break;
      head = Buffer.concat([head, next.value]);
    }
    const whole = startingWith(head, chunks);
    const program = PROGRAMS.find(({ magic }) => magic.every((byte, at) => head[at] === byte));
    yield* program === undefined ? inflated(whole, name) : throughProgram(program, whole, name);
  } finally {
    await chunks.return?.();
  }
}

async function* startingWith(head: Buffer, rest: AsyncIterator<Uint8Array>): AsyncGenerator<Uint8Array> {
  if (head.length > 0) yield head;
  for (let next = await rest.next(); next.done !== true; next = await rest.next()) yield next.value;
}

async function* throughProgram(
  { name: program, args }: Program,
  source: AsyncIterable<Uint8Array>,
  name: string,
): AsyncGenerator<Uint8Array> {
  const child = spawn(program, args, { stdio: ['pipe', 'pipe', 'ignore'], env: { PATH: process.env.PATH } });
  const ended = once(child, 'close');
  // Looked at below.
  ended.catch(() => undefined);
  const failure: { cause?: unknown } = {};
  const input = Readable.from(source, { objectMode: false });
  input.once('error', (cause) => {
    failure.cause = cause;
    child.kill('SIGKILL');
  });
  // A program that has given up reads no more; its exit says why.
  child.stdin.on('error', () => input.destroy());
  input.pipe(child.stdin);
  try {
    for await (const chunk of child.stdout) yield chunk as Uint8Array;
    const [code] = await ended.catch((cause: unknown) => {
      throw new ClusterError(
        'unavailable',
        `${name} is packed with ${program}, which cannot be run: ${messageOf(cause)}`,
        {
          hint: `install ${program} on the host that builds`,
          cause,
        },
      );
    });
    if (failure.cause !== undefined) throw failure.cause;
    if (code !== 0) throw new ClusterError('invalid', `${name} is broken: ${program} ends with ${String(code)}`);
  } finally {
    input.destroy();
    child.kill('SIGKILL');
    await ended.catch(() => undefined);
  }
}
