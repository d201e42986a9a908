/**
 * zstd by Debian's program of that name, because Node 20 has none: it runs beside us, on another core, with the memory that it
 * is allowed (ADR 0021). Comes in: packed bytes. Goes out: plain ones. Nobody else starts a program in this room.
 */
import { type ChildProcessByStdio, spawn } from 'node:child_process';
import { once } from 'node:events';
import { Readable, type Writable } from 'node:stream';
import { text } from 'node:stream/consumers';
import { ClusterError, messageOf } from '../errors.ts';

/** What unpacking may look back on. 128 MiB is what `zstd -d` itself allows; `--long=28` and more asks the reader for more. */
const WINDOW_MIB_MAX = 128;
const FEED_BYTES = 256 * 1024;

type Unpacker = ChildProcessByStdio<Writable, Readable, Readable>;

/**
 * Frames one after the other, skippable ones too; checksums are proved where a frame has one.
 *
 * @param name  what errors call it
 * @throws ClusterError `invalid` for broken or cut off frames and for those that want more memory than 128 MiB, `unavailable`
 *   when the program is not installed or was killed; what `source` throws
 */
export async function* unzstd(source: AsyncIterable<Uint8Array>, name: string): AsyncGenerator<Uint8Array> {
  const args = ['--decompress', '--stdout', '--quiet', '--no-progress', `--memory=${WINDOW_MIB_MAX}MiB`];
  const child = spawn('zstd', args, { stdio: 'pipe', env: { PATH: process.env.PATH, LC_ALL: 'C' } });
  const ended = once(child, 'close');
  const said = text(child.stderr);
  // Looked at below, where everything that went wrong is weighed.
  for (const each of [ended, said]) each.catch(() => undefined);
  const feed = feeding(source, child);
  try {
    for await (const chunk of child.stdout) yield chunk as Uint8Array;
    if (feed.failure !== undefined) throw feed.failure.cause;
    const failure = await verdict(ended, said, name);
    if (failure !== undefined) throw failure;
  } finally {
    feed.input.destroy();
    child.kill('SIGKILL');
    await ended.catch(() => undefined);
  }
}

interface Feed {
  readonly input: Readable;
  /** What the source threw. */
  failure?: { readonly cause: unknown };
}

function feeding(source: AsyncIterable<Uint8Array>, child: Unpacker): Feed {
  const input = Readable.from(source, { objectMode: false, highWaterMark: FEED_BYTES });
  const feed: Feed = { input };
  input.once('error', (cause) => {
    feed.failure = { cause };
    child.kill('SIGKILL');
  });
  // A program that has given up reads no more; its exit says why.
  child.stdin.on('error', () => input.destroy());
  input.pipe(child.stdin);
  return feed;
}

async function verdict(
  ended: Promise<unknown[]>,
  said: Promise<string>,
  name: string,
): Promise<ClusterError | undefined> {
  let exit: unknown[];
  try {
    exit = await ended;
  } catch (cause) {
    return new ClusterError('unavailable', `${name} is packed with zstd, which cannot be run: ${messageOf(cause)}`, {
      hint: 'install the package zstd on this host',
      cause,
    });
  }
  const [code, killer] = exit;
  if (code === 0) return undefined;
  if (code === null) return new ClusterError('unavailable', `unpacking of ${name} was ended by ${String(killer)}`);
  const words = await said.catch(() => '');
  if (/too much memory/i.test(words)) {
    return new ClusterError('invalid', `${name} is packed with a zstd window of more than ${WINDOW_MIB_MAX} MiB`, {
      hint: 'pack it without --long, or with --long=27 at most',
    });
  }
  const why =
    words
      .trim()
      .split('\n', 1)[0]
      ?.replace(/^.*stdin\*\\\s*: */, '') ?? '';
  return new ClusterError('invalid', `${name} is a broken zstd: ${why.slice(0, 200)}`, {
    hint: 'export or copy the image again',
  });
}
