/** `build`: an image from a Dockerfile, built on a node and put into the cluster. */
import { createReadStream, existsSync, statSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import type { Command } from 'commander';
import { ClusterError, messageOf } from '../../common/errors.ts';
import type { covey } from '../../proto/messages.ts';
import { contextTar, readIgnore } from '../build-context.ts';
import { BuildProgress } from '../build-progress.ts';
import { interruptible, withCluster } from '../client.ts';
import { addSwitch } from '../flags/switch.ts';
import { collected } from '../flags/values.ts';

interface BuildFlags {
  readonly tag: readonly string[];
  readonly file?: string;
  readonly buildArg: readonly string[];
  readonly target?: string;
  readonly cache: boolean;
  readonly label: readonly string[];
  readonly pull?: boolean;
  readonly secret: readonly string[];
  readonly network?: string;
  readonly progress: string;
  readonly quiet?: boolean;
  readonly node?: string;
}

/** As the contract says. */
const PIECE_BYTES = 1024 * 1024;
const DOCKERFILE = 'Dockerfile';
const SECRET_BYTES_MAX = 500 * 1024;
const URL_SHAPE = /^https?:\/\//i;

/** Adds `build`. */
export function addBuildCommand(parent: Command): void {
  const build = parent
    .command('build')
    .description('Build an image from a Dockerfile, on a node, into the cluster')
    .argument('<context>', 'a folder; the URL of a tar; or `-`: a tar or a Dockerfile on standard input')
    .option('-t, --tag <name[:tag]>', 'the image’s name; may be repeated', collected, [])
    .option('-f, --file <file>', 'the Dockerfile (default: CONTEXT/Dockerfile; `-`: standard input)')
    .option('--build-arg <name=value>', 'a value for ARG; NAME alone takes ours; may be repeated', collected, [])
    .option('--target <stage>', 'the stage to build')
    .option('--no-cache', 'do every step anew')
    .option('--label <key=value>', 'a label of the image; may be repeated', collected, [])
    .option('--secret <id=name,src=file>', 'a file, or env=VARIABLE, for RUN --mount=type=secret', collected, [])
    .option('--network <network>', 'of RUN: default, none or host')
    .option('--progress <plain|auto>', 'how it is shown', 'auto')
    .option('--node <node>', 'where to build (default: the node with the most room)');
  addSwitch(build, '--pull', 'ask registries for newer base images');
  addSwitch(build, '-q, --quiet', 'only the image’s id');
  build.action(runBuild);
}

async function runBuild(context: string, flags: BuildFlags): Promise<void> {
  const signal = interruptible();
  if (!['plain', 'auto'].includes(flags.progress)) {
    throw new ClusterError('invalid', `progress "${flags.progress}" is not known`, {
      field: '--progress',
      hint: 'choose plain or auto',
    });
  }
  if (flags.tag.length === 0) {
    throw new ClusterError('invalid', 'the image has no name', {
      field: '--tag',
      hint: 'give it one with -t NAME[:TAG]',
    });
  }
  const source = await sourceOf(context, flags.file);
  const start: covey.v1.BuildStart.$Properties = {
    names: [...flags.tag],
    file: source.name,
    ...(source.text === undefined ? {} : { text: source.text }),
    target: flags.target ?? '',
    args: { ...reproducible(), ...variablesOf(flags.buildArg, '--build-arg') },
    labels: variablesOf(flags.label, '--label'),
    secrets: await secretsOf(flags.secret),
    noCache: !flags.cache,
    pull: flags.pull === true,
    network: flags.network ?? '',
    contextUrl: source.url ?? '',
    hasContext: source.context !== undefined,
  };
  const progress = new BuildProgress(flags.quiet === true ? 'quiet' : 'plain');
  await withCluster(async (_control, engine) => {
    const inputs = new Inputs(inputsOf(flags.node ?? '', start, source.context));
    try {
      for await (const output of engine.build(inputs.read(), { signal })) progress.show(output);
    } catch (cause) {
      throw inputs.failure ?? cause;
    }
  });
  progress.done(flags.tag);
}

/** What is sent, and why it could not be: the call itself only tells that it was given up. */
class Inputs {
  failure: unknown;
  readonly #source: AsyncIterable<covey.v1.BuildInput.$Properties>;

  constructor(source: AsyncIterable<covey.v1.BuildInput.$Properties>) {
    this.#source = source;
  }

  async *read(): AsyncGenerator<covey.v1.BuildInput.$Properties> {
    try {
      yield* this.#source;
    } catch (cause) {
      this.failure = cause;
      throw cause;
    }
  }
}

async function* inputsOf(
  node: string,
  start: covey.v1.BuildStart.$Properties,
  context: AsyncIterable<Uint8Array> | undefined,
): AsyncGenerator<covey.v1.BuildInput.$Properties> {
  yield { node, start };
  let pieces: Uint8Array[] = [];
  let size = 0;
  // Small pieces, such as a tar's headers, are not worth a message each.
  for await (const chunk of context ?? []) {
    for (let at = 0; at < chunk.length; at += PIECE_BYTES) {
      const piece = chunk.subarray(at, at + PIECE_BYTES);
      if (size + piece.length > PIECE_BYTES) {
        yield { context: Buffer.concat(pieces) };
        pieces = [];
        size = 0;
      }
      pieces.push(piece);
      size += piece.length;
    }
  }
  if (size > 0) yield { context: Buffer.concat(pieces) };
}

interface BuildSource {
  /** The Dockerfile's name; its path in the context when there is no text. */
  readonly name: string;
  readonly text?: string;
  readonly url?: string;
  readonly context?: AsyncIterable<Uint8Array>;
}

async function sourceOf(context: string, file: string | undefined): Promise<BuildSource> {
  if (URL_SHAPE.test(context)) return { name: file ?? DOCKERFILE, url: context };
  if (context === '-') return await sourceOfInput(file);
  if (!existsSync(context) || !statSync(context).isDirectory()) {
    throw new ClusterError('invalid', `the context "${context}" is no folder`, {
      field: '--context',
      hint: 'give a folder, the URL of a tar, or -',
    });
  }
  const path = file ?? join(context, DOCKERFILE);
  const text = path === '-' ? await textOf(process.stdin) : await readText(path);
  const ignore = await readIgnore(context, path === '-' ? undefined : path);
  return { name: path === '-' ? DOCKERFILE : basename(path), text, context: contextTar(context, ignore) };
}

/** A tar, or a Dockerfile without a context. Source: docker build, "Text files" and "Tarball contexts". */
async function sourceOfInput(file: string | undefined): Promise<BuildSource> {
  const chunks = process.stdin[Symbol.asyncIterator]() as AsyncIterator<Buffer>;
  let head = Buffer.alloc(0);
  while (head.length < TAR_MAGIC_END) {
    const next = await chunks.next();
    if (next.done === true) break;
    head = Buffer.concat([head, next.value]);
  }
  async function* whole(): AsyncGenerator<Uint8Array> {
    if (head.length > 0) yield head;
    for (let next = await chunks.next(); next.done !== true; next = await chunks.next()) yield next.value;
  }
  if (isTar(head)) return { name: file ?? DOCKERFILE, context: whole() };
  const pieces: Uint8Array[] = [];
  for await (const piece of whole()) pieces.push(piece);
  return { name: DOCKERFILE, text: Buffer.concat(pieces).toString('utf8') };
}

const TAR_MAGIC_END = 262;
const PACKED: readonly (readonly number[])[] = [
  [0x1f, 0x8b],
  [0x42, 0x5a, 0x68],
  [0xfd, 0x37, 0x7a, 0x58, 0x5a],
  [0x28, 0xb5, 0x2f, 0xfd],
];

function isTar(head: Buffer): boolean {
  const isPacked = PACKED.some((magic) => magic.every((byte, at) => head[at] === byte));
  return isPacked || head.subarray(257, TAR_MAGIC_END).toString('latin1') === 'ustar';
}

async function textOf(input: AsyncIterable<Uint8Array>): Promise<string> {
  const pieces: Uint8Array[] = [];
  for await (const piece of input) pieces.push(piece);
  return Buffer.concat(pieces).toString('utf8');
}

async function readText(path: string): Promise<string> {
  try {
    return await readFile(path, 'utf8');
  } catch (cause) {
    throw new ClusterError('invalid', `the Dockerfile cannot be read: ${messageOf(cause)}`, {
      field: '--file',
      hint: 'name it with -f',
      cause,
    });
  }
}

/** As docker buildx does. Source: reproducible-builds.org, SOURCE_DATE_EPOCH. */
function reproducible(): Record<string, string> {
  const { SOURCE_DATE_EPOCH } = process.env;
  return SOURCE_DATE_EPOCH === undefined ? {} : { SOURCE_DATE_EPOCH };
}

function variablesOf(pairs: readonly string[], field: string): Record<string, string> {
  const found: Record<string, string> = {};
  for (const pair of pairs) {
    const at = pair.indexOf('=');
    const name = at < 0 ? pair : pair.slice(0, at);
    if (name === '') throw new ClusterError('invalid', `"${pair}" has no name`, { field, hint: 'write NAME=VALUE' });
    const own = field === '--build-arg' ? process.env[name] : '';
    const value = at < 0 ? own : pair.slice(at + 1);
    if (value !== undefined) found[name] = value;
  }
  return found;
}

/** `id=NAME,src=FILE`, `id=NAME,env=VARIABLE`, or `id=NAME` for the variable or file of that name. */
async function secretsOf(texts: readonly string[]): Promise<Record<string, Uint8Array>> {
  const found: Record<string, Uint8Array> = {};
  for (const text of texts) {
    const fields = new Map(
      text.split(',').map((part) => [part.split('=', 1)[0] ?? '', part.slice(part.indexOf('=') + 1)]),
    );
    const id = fields.get('id') ?? '';
    if (id === '') throw wrongSecret(`"${text}" names no secret`);
    const unknown = [...fields.keys()].find((key) => !['id', 'src', 'source', 'env', 'type'].includes(key));
    if (unknown !== undefined) throw wrongSecret(`"${unknown}" means nothing in "${text}"`);
    found[id] = await secretOf(id, fields);
  }
  return found;
}

async function secretOf(id: string, fields: ReadonlyMap<string, string>): Promise<Uint8Array> {
  const file = fields.get('src') ?? fields.get('source');
  const variable = fields.get('env') ?? (file === undefined ? id : undefined);
  const value = variable === undefined ? undefined : process.env[variable];
  if (value !== undefined) return Buffer.from(value);
  if (fields.has('env')) throw wrongSecret(`secret "${id}": the variable ${variable} is not set`);
  const path = file ?? id;
  try {
    if (statSync(path).size > SECRET_BYTES_MAX)
      throw wrongSecret(`secret "${id}" has more than ${SECRET_BYTES_MAX} bytes`);
    return await textBytes(path);
  } catch (cause) {
    if (cause instanceof ClusterError) throw cause;
    throw wrongSecret(`secret "${id}" cannot be read: ${messageOf(cause)}`);
  }
}

async function textBytes(path: string): Promise<Uint8Array> {
  const pieces: Uint8Array[] = [];
  for await (const piece of createReadStream(path)) pieces.push(piece as Uint8Array);
  return Buffer.concat(pieces);
}

function wrongSecret(why: string): ClusterError {
  return new ClusterError('invalid', why, {
    field: '--secret',
    hint: 'write id=NAME,src=FILE or id=NAME,env=VARIABLE',
  });
}
