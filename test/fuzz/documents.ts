/** Indexes, manifests and configs of images. */
import { parseConfig } from '../../common/oci/config.ts';
import { choosePlatform, parseIndex, parseManifest } from '../../common/oci/manifest.ts';
import { imageOf, indexPart, layer } from '../support/image-archive.ts';
import type { Random } from './random.ts';
import { refusing, type Target } from './target.ts';

const HEALTH = { Test: ['CMD', 'true'], Interval: 1e9, Timeout: 2e9, Retries: 3, StartPeriod: 4e9 };
const CONFIG = {
  Cmd: ['/server'],
  Entrypoint: ['/init'],
  Env: ['A=b'],
  User: '1:2',
  WorkingDir: '/srv',
  ExposedPorts: { '80/tcp': {}, '53/udp': {} },
  Labels: { a: 'b' },
  StopSignal: 'SIGINT',
  Healthcheck: HEALTH,
};
const ODD: readonly unknown[] = [
  null,
  -1,
  0,
  Number.POSITIVE_INFINITY,
  2 ** 53,
  1.5,
  '',
  'x',
  '\0',
  'x'.repeat(70_000),
  [],
  {},
  true,
  [[[[[]]]]],
  { __proto__: null },
  'sha256:',
  '80/tcp',
  'linux',
  'amd64',
  'v3',
  'unknown',
  `sha256:${'a'.repeat(64)}`,
];

export const documents: Target = {
  name: 'document',
  seeds: () => {
    const image = imageOf({ layers: [layer([]), layer([{ path: 'a' }])], config: CONFIG });
    const platform = { os: 'linux', architecture: 'amd64', variant: 'v2', 'os.version': '1' };
    const entry = { mediaType: 'application/vnd.oci.image.manifest.v1+json', digest: image.digest, size: 5, platform };
    const index = JSON.stringify({
      schemaVersion: 2,
      manifests: [entry, { ...entry, platform: { os: 'unknown', architecture: 'unknown' } }],
    });
    return [image.config, image.manifest, index, String(indexPart([image]).body)].map((text) => Buffer.from(text));
  },
  words: [
    '{',
    '}',
    '[',
    ']',
    '"',
    ',',
    ':',
    'null',
    '1e999',
    '"__proto__":',
    '"constructor":',
    '\\u0000',
    '"layers":',
    '"config":',
    '"platform":',
  ],
  bytesMax: 100_000,
  reshape: (bytes, random) => {
    try {
      return Buffer.from(JSON.stringify(turned(JSON.parse(bytes.toString('utf8')), random)));
    } catch {
      return bytes;
    }
  },
  run: async (bytes) => {
    const text = bytes.toString('utf8');
    await refusing(() => parseConfig(text, 'the config'));
    await refusing(() => parseManifest(text, 'the manifest'));
    await refusing(() => choosePlatform(parseIndex(text, 'the index'), 'the image'));
  },
};

/** The same with one value somewhere in it another, twice or gone. */
function turned(value: unknown, random: Random): unknown {
  if (typeof value !== 'object' || value === null || random.once(6)) return random.pick(ODD);
  if (Array.isArray(value)) {
    const at = random.below(value.length + 1);
    const rest = value.toSpliced(at, random.below(2), ...(random.once(2) ? [random.pick(ODD)] : []));
    return value.length > 0 && random.once(2)
      ? value.with(random.below(value.length), turned(random.pick(value), random))
      : rest;
  }
  const keys = Object.keys(value);
  const key =
    keys.length === 0 || random.once(8) ? random.pick(['', '__proto__', 'a', 'manifests']) : random.pick(keys);
  const changed: Record<string, unknown> = { ...value };
  if (random.once(6)) delete changed[key];
  else
    Object.defineProperty(changed, key, { value: turned(changed[key], random), enumerable: true, configurable: true });
  return changed;
}
