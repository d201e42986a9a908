/**
 * Builds the demo images: one static program (web/), one layer, several configs. Comes in: nothing but the sources. Goes out:
 * OCI archives, the same bytes for the same compiler, so that digests are stable.
 *
 *   tsx deploy/dev/images.ts FOLDER
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, mkdtemp, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { buffer } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';
import { type Header, pack } from 'tar-stream';
import { ClusterError } from '../../common/errors.ts';
import { digestOf } from '../../common/oci/digest.ts';
import { CONFIG_TYPE, LAYER_GZIP_TYPE, MANIFEST_TYPE } from '../../common/oci/manifest.ts';
import { PLATFORM } from '../../common/oci/platform.ts';

/** An archive on disk, ready for `covey image load`. */
export interface DemoImage {
  readonly reference: string;
  readonly path: string;
}

interface Variant {
  readonly reference: string;
  readonly version: string;
  readonly cmd: readonly string[];
}

/** `crash:1` runs for a second, so that it is seen running before it fails. */
const VARIANTS: readonly Variant[] = [
  { reference: 'web:1', version: '1', cmd: [] },
  { reference: 'web:2', version: '2', cmd: [] },
  { reference: 'crash:1', version: 'crash', cmd: ['crash', '1'] },
  { reference: 'deaf:1', version: 'deaf', cmd: ['deaf'] },
  { reference: 'sick:1', version: 'sick', cmd: ['sick', '3'] },
  { reference: 'lines:1', version: 'lines', cmd: ['lines', '1000'] },
];

/** Every time in the archives: content alone decides the digest. */
const EPOCH = new Date(0);
const CREATED = '1970-01-01T00:00:00Z';
const SOURCES = fileURLToPath(new URL('./web', import.meta.url));

/** Builds all demo images into `folder`, made if missing. @throws ClusterError `unavailable` without a compiler */
export async function buildDemoImages(folder: string): Promise<readonly DemoImage[]> {
  await mkdir(folder, { recursive: true });
  const layer = await layerOf(await compile());
  const images: DemoImage[] = [];
  for (const variant of VARIANTS) {
    const path = join(folder, `${variant.reference.replace(':', '-')}.tar`);
    await writeFile(`${path}.new`, await archiveOf(variant, layer));
    await rename(`${path}.new`, path);
    images.push({ reference: variant.reference, path });
  }
  return images;
}

async function compile(): Promise<Buffer> {
  const folder = await mkdtemp(join(tmpdir(), 'covey-web-'));
  try {
    const sources = (await readdir(SOURCES)).filter((name) => name.endsWith('.c')).toSorted();
    const output = join(folder, 'server');
    const flags = ['-std=c17', '-D_GNU_SOURCE', '-O2', '-static', '-s', '-Wall', '-Wextra', '-Werror'];
    // By relative names: absolute ones could get into the program and change its digest.
    const compiler = spawn('musl-gcc', [...flags, '-o', output, ...sources], {
      cwd: SOURCES,
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    const complaint = buffer(compiler.stderr);
    const [code] = (await once(compiler, 'close')) as [number | null];
    if (code === 0) return await readFile(output);
    throw new Error((await complaint).toString('utf8').slice(0, 2_000));
  } catch (cause) {
    throw new ClusterError('unavailable', `the demo's web server cannot be built: ${String(cause)}`, {
      hint: 'apt-get install musl-tools',
      cause,
    });
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** The root file system: the program (also as /bin/sh, see web/modes.h), users, /tmp. */
function layerOf(server: Buffer): Promise<Buffer> {
  const folder = (name: string, mode: number): Partial<Header> & { name: string } => ({
    name,
    type: 'directory',
    mode,
  });
  return tarOf([
    [folder('bin', 0o755)],
    [{ name: 'server', mode: 0o755 }, server],
    [{ name: 'bin/sh', type: 'link', linkname: 'server', mode: 0o755 }],
    [folder('etc', 0o755)],
    [{ name: 'etc/group', mode: 0o644 }, Buffer.from('root:x:0:\nweb:x:1000:\n')],
    [{ name: 'etc/passwd', mode: 0o644 }, Buffer.from('root:x:0:0:root:/:/bin/sh\nweb:x:1000:1000:web:/:/bin/sh\n')],
    [folder('tmp', 0o1777)],
  ]);
}

function tarOf(
  entries: readonly (readonly [header: Partial<Header> & { readonly name: string }, body?: Buffer])[],
): Promise<Buffer> {
  const tar = pack();
  for (const [header, body] of entries) tar.entry({ ...header, uid: 0, gid: 0, mtime: EPOCH }, body ?? '');
  tar.finalize();
  return buffer(tar);
}

function archiveOf(variant: Variant, layer: Buffer): Promise<Buffer> {
  const blobs = new Map<string, Buffer>();
  const add = (mediaType: string, content: Buffer): object => {
    const digest = digestOf(content);
    blobs.set(digest, content);
    return { mediaType, digest, size: content.length };
  };
  const layers = [add(LAYER_GZIP_TYPE, gzipSync(layer, { level: 9 }))];
  const config = add(CONFIG_TYPE, json(configOf(variant, layer)));
  const manifest = add(MANIFEST_TYPE, json({ schemaVersion: 2, mediaType: MANIFEST_TYPE, config, layers }));
  const annotations = { 'org.opencontainers.image.ref.name': variant.reference };
  return tarOf([
    [{ name: 'oci-layout' }, json({ imageLayoutVersion: '1.0.0' })],
    [{ name: 'index.json' }, json({ schemaVersion: 2, manifests: [{ ...manifest, annotations }] })],
    ...[...blobs].map(([digest, content]) => [{ name: `blobs/sha256/${digest.slice(7)}` }, content] as const),
  ]);
}

function configOf(variant: Variant, layer: Buffer): object {
  return {
    created: CREATED,
    architecture: PLATFORM.arch,
    os: PLATFORM.os,
    config: {
      Env: ['PATH=/bin:/', `VERSION=${variant.version}`],
      Entrypoint: ['/server'],
      Cmd: variant.cmd,
      ExposedPorts: { '80/tcp': {} },
      WorkingDir: '/',
    },
    rootfs: { type: 'layers', diff_ids: [digestOf(layer)] },
    history: [{ created: CREATED, created_by: 'deploy/dev/images.ts' }],
  };
}

function json(value: object): Buffer {
  return Buffer.from(JSON.stringify(value));
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const folder = process.argv[2];
  if (folder === undefined) throw new ClusterError('invalid', 'usage: tsx deploy/dev/images.ts FOLDER');
  for (const image of await buildDemoImages(folder)) process.stdout.write(`${image.reference} ${image.path}\n`);
}
