/**
 * An image pushed and pulled by a manager, beside `skopeo copy` and, where dockerd is installed, `docker push` and `pull`, against one
 * registry (Debian's docker-registry on loopback). A manager's pull also looks into every layer; docker's also unpacks them.
 */
import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { createWriteStream, mkdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { dirname, join } from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { promisify } from 'node:util';
import { createGzip } from 'node:zlib';
import { systemClock } from '../../common/clock.ts';
import { noLog } from '../../common/log.ts';
import { digestOf } from '../../common/oci/digest.ts';
import { CONFIG_TYPE, LAYER_GZIP_TYPE, MANIFEST_TYPE } from '../../common/oci/manifest.ts';
import { PLATFORM } from '../../common/oci/platform.ts';
import { ManagerImages } from '../../manager/images/manager-images.ts';
import { ImagePusher } from '../../manager/images/push.ts';
import { Registries } from '../../manager/images/registries.ts';
import { MemoryStore } from '../support/memory-store.ts';
import { tarOf } from '../support/tar.ts';
import { until } from '../support/until.ts';
import { Docker, hasDocker } from './docker-daemon.ts';
import type { Figure, Report } from './figure.ts';
import { type Contender, race } from './image.ts';
import { ownDisk } from './own-disk.ts';

const run = promisify(execFile);

/** Source: issue 5. */
const AIM = 1;
const DISK_MIB = 16_384;
const MIB = 2 ** 20;
/** Packed. */
const SIZES = [
  { name: '100 MB', layers: 4, layerBytes: 25_000_000, rounds: 5 },
  { name: '1 GB', layers: 4, layerBytes: 250_000_000, rounds: 3 },
] as const;
const NAME = 'bench/image';

type Size = (typeof SIZES)[number];

export async function benchRegistry(signal: AbortSignal, rounds?: number): Promise<Report> {
  const disk = ownDisk(DISK_MIB);
  const docker = (await hasDocker()) ? await Docker.start(join(disk.folder, 'docker')) : undefined;
  try {
    const figures: Figure[] = [];
    for (const size of SIZES) {
      const folder = join(disk.folder, size.name.replace(' ', '-'));
      figures.push(...(await benchSize({ ...size, rounds: rounds ?? size.rounds } as Size, folder, docker, signal)));
      rmSync(folder, { recursive: true });
    }
    const without = docker === undefined ? ['without docker: dockerd is not installed (Debian: docker.io)'] : [];
    return { figures, notes: [...disk.notes, ...without, 'throughput is of packed bytes'] };
  } finally {
    await docker?.stop();
    disk.remove();
  }
}

async function benchSize(
  size: Size,
  folder: string,
  docker: Docker | undefined,
  signal: AbortSignal,
): Promise<readonly Figure[]> {
  mkdirSync(folder, { recursive: true });
  const layout = join(folder, 'layout');
  const { bytes, digest } = await makeLayout(layout, size, signal);
  const [source, sink] = [
    await BenchRegistry.start(join(folder, 'source')),
    await BenchRegistry.start(join(folder, 'sink')),
  ];
  try {
    await run('skopeo', [
      '--insecure-policy',
      'copy',
      '--dest-tls-verify=false',
      `oci:${layout}:1`,
      `docker://${source.host}/${NAME}:1`,
    ]);
    const common = { bytes, rounds: size.rounds };
    const pulls = [
      skopeoPull(folder, source),
      ...(docker === undefined ? [] : [docker.pull(`${source.host}/${NAME}:1`)]),
    ];
    const pull = { ...common, name: `pull of ${size.name}`, ours: ourPull(folder, source, digest) };
    const pulled = await race({ ...pull, peers: pulls.map((peer) => ({ ...peer, aim: AIM })) }, signal);
    const pushes = [
      skopeoPush(layout, sink),
      ...(docker === undefined
        ? []
        : [await docker.push(`${source.host}/${NAME}:1`, `${sink.host}/${NAME}:1`, () => sink.empty())]),
    ];
    const push = { ...common, name: `push of ${size.name}`, ours: await ourPush(folder, source, sink, digest) };
    return [...pulled, ...(await race({ ...push, peers: pushes.map((peer) => ({ ...peer, aim: AIM })) }, signal))];
  } finally {
    await Promise.all([source.stop(), sink.stop()]);
  }
}

/** A manager's images in a folder of their own, and the way to registries. */
async function managerIn(dir: string) {
  const settings = { insecure: [], certs: join(dir, 'certs'), mirrors: new Map() };
  const registries = new Registries({ settings, logins: { of: () => undefined }, clock: systemClock, log: noLog });
  const openRepository = (name: string) => registries.repository(name);
  const images = await ManagerImages.open({
    dir,
    store: new MemoryStore(),
    clock: systemClock,
    log: noLog,
    openRepository,
  });
  return { images, registries };
}

function ourPull(folder: string, { host }: BenchRegistry, digest: string): Contender {
  const dir = join(folder, 'by-covey');
  let found = '';
  return {
    name: 'covey',
    run: async (signal) => {
      const { images } = await managerIn(dir);
      found = (await images.pull(`${host}/${NAME}:1`, () => undefined, signal)).image.digest;
    },
    after: async () => {
      rmSync(dir, { recursive: true });
      return found === digest ? [] : [`covey pulled ${found}`];
    },
  };
}

async function ourPush(folder: string, source: BenchRegistry, sink: BenchRegistry, digest: string): Promise<Contender> {
  const never = new AbortController().signal;
  const { images, registries } = await managerIn(join(folder, 'of-covey'));
  await images.pull(`${source.host}/${NAME}:1`, () => undefined, never);
  const target = `${sink.host}/${NAME}:1`;
  await images.tag(`${source.host}/${NAME}:1`, target, never);
  const { blobs, records, pins } = images;
  const bring = (): never => {
    throw new Error('a blob is missing');
  };
  const openUploads = (name: string, from: readonly string[]) => registries.uploads(name, from);
  const pusher = new ImagePusher({ records, blobs, pins, bring, openUploads, clock: systemClock, log: noLog });
  const push = async (signal: AbortSignal): Promise<void> => void (await pusher.push(target, () => undefined, signal));
  return { name: 'covey', run: push, after: () => arrived(sink, digest) };
}

function skopeoPull(folder: string, { host }: BenchRegistry): Contender {
  const dir = join(folder, 'by-skopeo');
  return {
    name: 'skopeo',
    run: async (signal) => {
      const words = [
        '--insecure-policy',
        'copy',
        '--src-tls-verify=false',
        `docker://${host}/${NAME}:1`,
        `oci:${dir}:1`,
      ];
      await run('skopeo', words, { signal });
    },
    after: async () => {
      rmSync(dir, { recursive: true });
      return [];
    },
  };
}

function skopeoPush(layout: string, sink: BenchRegistry): Contender {
  const words = [
    '--insecure-policy',
    'copy',
    '--dest-tls-verify=false',
    `oci:${layout}:1`,
    `docker://${sink.host}/${NAME}:1`,
  ];
  return {
    name: 'skopeo',
    run: async (signal) => void (await run('skopeo', words, { signal })),
    after: async () => {
      await sink.empty();
      return [];
    },
  };
}

/** That the sink has the image; it is emptied. */
async function arrived(sink: BenchRegistry, digest: string): Promise<readonly string[]> {
  const answer = await fetch(`http://${sink.host}/v2/${NAME}/manifests/1`, { headers: { accept: MANIFEST_TYPE } });
  const found = digestOf(await answer.text());
  await sink.empty();
  return found === digest ? [] : [`covey pushed ${found}`];
}

/** Layers of pieces of the running Node's program, which packs as other programs do. */
async function makeLayout(
  layout: string,
  { layers, layerBytes }: Size,
  signal: AbortSignal,
): Promise<{ bytes: number; digest: string }> {
  const blobs = join(layout, 'blobs', 'sha256');
  mkdirSync(blobs, { recursive: true });
  const program = readFileSync(process.execPath);
  const made = [];
  for (let number = 0; number < layers; number += 1)
    made.push(await makeLayer(join(blobs, `layer-${number}`), program, { number, layerBytes }, signal));
  const put = (mediaType: string, content: object) => {
    const text = JSON.stringify(content);
    const digest = digestOf(text);
    writeFileSync(join(blobs, digest.slice(7)), text);
    return { mediaType, digest, size: Buffer.byteLength(text) };
  };
  const { os, arch: architecture } = PLATFORM;
  const rootfs = { type: 'layers', diff_ids: made.map(({ diffId }) => diffId) };
  const config = put(CONFIG_TYPE, { os, architecture, config: {}, rootfs });
  const list = made.map(({ digest, size }) => ({ mediaType: LAYER_GZIP_TYPE, digest, size }));
  const manifest = put(MANIFEST_TYPE, { schemaVersion: 2, mediaType: MANIFEST_TYPE, config, layers: list });
  const annotations = { 'org.opencontainers.image.ref.name': '1' };
  writeFileSync(join(layout, 'oci-layout'), '{"imageLayoutVersion":"1.0.0"}');
  writeFileSync(
    join(layout, 'index.json'),
    JSON.stringify({ schemaVersion: 2, manifests: [{ ...manifest, annotations }] }),
  );
  return { bytes: list.reduce((sum, { size }) => sum + size, 0), digest: manifest.digest };
}

async function makeLayer(
  path: string,
  program: Buffer,
  { number, layerBytes }: { readonly number: number; readonly layerBytes: number },
  signal: AbortSignal,
) {
  const plain = createHash('sha256');
  const packed = createHash('sha256');
  let size = 0;
  const entries = async function* (): AsyncGenerator<Uint8Array> {
    for (let file = 0; size < layerBytes; file += 1) {
      const from = ((number * 7_919 + file * 104_729) * 4_096) % (program.length - MIB);
      const tar = tarOf([{ path: `layer-${number}/file-${file}`, body: program.subarray(from, from + MIB) }]);
      const entry = tar.subarray(0, 512 + MIB);
      plain.update(entry);
      yield entry;
    }
    const end = Buffer.alloc(1_024);
    plain.update(end);
    yield end;
  };
  const counted = async function* (pieces: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
    for await (const piece of pieces) {
      size += piece.length;
      packed.update(piece);
      yield piece;
    }
  };
  await pipeline(Readable.from(entries()), createGzip({ level: 1 }), counted, createWriteStream(path), { signal });
  const digest = `sha256:${packed.digest('hex')}`;
  const blob = join(dirname(path), digest.slice(7));
  renameSync(path, blob);
  return { digest, size: statSync(blob).size, diffId: `sha256:${plain.digest('hex')}` };
}

class BenchRegistry {
  readonly host: string;
  readonly #folder: string;
  readonly #child: ChildProcess;

  private constructor(folder: string, host: string, child: ChildProcess) {
    this.#folder = folder;
    this.host = host;
    this.#child = child;
  }

  static async start(folder: string): Promise<BenchRegistry> {
    mkdirSync(folder);
    const host = `127.0.0.1:${await freePort()}`;
    const lines = ['version: 0.1', 'log: {level: error}', `storage: {filesystem: {rootdirectory: ${folder}/data}}`];
    writeFileSync(join(folder, 'config.yml'), [...lines, `http: {addr: "${host}"}`, ''].join('\n'));
    const child = spawn('docker-registry', ['serve', join(folder, 'config.yml')], { stdio: 'ignore' });
    await until('the registry answers', 20_000, async () => (await fetch(`http://${host}/v2/`)).ok);
    return new BenchRegistry(folder, host, child);
  }

  /** It keeps nothing in memory. */
  async empty(): Promise<void> {
    rmSync(join(this.#folder, 'data'), { recursive: true, force: true });
  }

  async stop(): Promise<void> {
    if (this.#child.exitCode !== null) return;
    this.#child.kill('SIGKILL');
    await once(this.#child, 'exit');
  }
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as { port: number };
  server.close();
  return port;
}
