import { execFileSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { gzipSync } from 'node:zlib';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { NATIVE_MEANS } from '../../../agent/image/means.ts';
import { ClusterError } from '../../../common/errors.ts';
import { digestOf } from '../../../common/oci/digest.ts';
import { inflated } from '../../../common/oci/inflate.ts';
import { LAYER_LIMITS, LayerReader } from '../../../common/oci/layer.ts';
import { type LayerMeans, NODE_MEANS } from '../../../common/oci/layer-means.ts';
import { unzstd } from '../../../common/oci/unzstd.ts';
import { lentStreamOf } from '../../support/lent.ts';
import { streamOf, tarOf, zstdOf } from '../../support/tar.ts';
import { until } from '../../support/until.ts';

const TAR = tarOf([
  { path: 'usr/', type: '5' },
  {
    path: 'usr/program',
    body: Array.from({ length: 3_000 }, (_, line) => `line ${(line * 7_919) % 3_001}\n`).join(''),
  },
  { path: 'usr/link', type: '2', link: 'program' },
]);
const PACKED: readonly (readonly [name: string, bytes: Buffer])[] = [
  ['plain', TAR],
  ['gzip', gzipSync(TAR)],
  ['zstd', zstdOf(TAR)],
];
const SKIPPED = Buffer.from('5a2a4d1803000000414243', 'hex');

/** The names of a layer that is proved to be TAR. */
async function namesOf(source: AsyncIterable<Uint8Array>, means: LayerMeans = NODE_MEANS): Promise<readonly string[]> {
  const reader = new LayerReader(source, 'layer L', LAYER_LIMITS, means);
  try {
    const names: string[] = [];
    for (let entry = await reader.next(); entry !== undefined; entry = await reader.next()) names.push(entry.path);
    await reader.prove(digestOf(TAR));
    return names;
  } finally {
    await reader.close();
  }
}

const NAMES = ['usr', 'usr/program', 'usr/link'];

/** Programs that this process has started and not ended. */
function programsOfOurs(program: string): readonly string[] {
  return readdirSync('/proc').filter((name) => {
    try {
      const stat = readFileSync(`/proc/${name}/stat`, 'utf8');
      return stat.includes(`(${program})`) && stat.slice(stat.lastIndexOf(')')).split(' ')[2] === String(process.pid);
    } catch {
      return false;
    }
  });
}

const WAYS = [
  ["by Node's means", NODE_MEANS, streamOf],
  ["by an agent's", NATIVE_MEANS, lentStreamOf],
] as const;

describe.each(
  PACKED.flatMap(([packing, bytes]) =>
    WAYS.map(([way, means, stream]) => [packing, way, bytes, means, stream] as const),
  ),
)('a layer packed as %s and read %s', (packing, _, bytes, means, stream) => {
  it.each([1, 700, 1 << 20])('is read from pieces of %i bytes', async (size) => {
    expect(await namesOf(stream(bytes, size), means)).toEqual(NAMES);
  });

  it('is refused wherever it is cut off', async () => {
    for (const length of [1, 4, 9, 600, bytes.length - 1_600, bytes.length - 5].filter((each) => each > 0)) {
      await expect(namesOf(stream(bytes.subarray(0, length)), means)).rejects.toMatchObject({ code: 'invalid' });
    }
  });

  it('is never taken for another when a bit of it has flipped', async () => {
    for (let turn = 0; turn < 24; turn += 1) {
      const at = Math.floor((bytes.length * turn) / 24);
      const flipped = Buffer.from(bytes);
      flipped[at] = (flipped[at] as number) ^ (1 << (turn % 8));
      try {
        // A bit of gzip's own header, as its time, changes nothing of what it holds.
        expect(await namesOf(stream(flipped), means), `bit ${turn % 8} of byte ${at}`).toEqual(NAMES);
      } catch (error) {
        expect(error).toBeInstanceOf(ClusterError);
        expect(error, packing).toMatchObject({ code: 'invalid' });
      }
    }
  });

  it('ends with what its source ends with', async () => {
    const source = async function* (): AsyncGenerator<Uint8Array> {
      yield bytes.subarray(0, bytes.length / 2);
      throw new ClusterError('unavailable', 'the line broke');
    };
    await expect(namesOf(source(), means)).rejects.toThrow('the line broke');
  });
});

describe.each(WAYS)('zstd read %s', (_, means, stream) => {
  it('may come in several frames, and in frames to be passed over', async () => {
    const frames = Buffer.concat([
      SKIPPED,
      zstdOf(TAR.subarray(0, 5_000)),
      SKIPPED,
      zstdOf(TAR.subarray(5_000)),
      SKIPPED,
    ]);
    expect(await namesOf(stream(frames), means)).toEqual(NAMES);
  });

  it('that wants more than 128 MiB of memory is refused', async () => {
    // Of a stream zstd does not know the end: it takes the window that it was told.
    const large = zstdOf(TAR, '--long=28', '--single-thread');
    await expect(namesOf(stream(large), means)).rejects.toThrow(
      'layer L is packed with a zstd window of more than 128 MiB',
    );
    expect(await namesOf(stream(zstdOf(TAR, '--long=27')), means)).toEqual(NAMES);
  });

  it('is refused when something follows that is no frame', async () => {
    const more = Buffer.concat([zstdOf(TAR), Buffer.from('and more')]);
    await expect(namesOf(stream(more), means)).rejects.toThrow('layer L is a broken zstd');
  });
});

describe('zstd', () => {
  it('says why it cannot be read', async () => {
    const cut = zstdOf(TAR).subarray(0, 1_000);
    await expect(namesOf(streamOf(cut))).rejects.toThrow('layer L is a broken zstd: Read error (39) : premature end');
  });

  it('without its program says what to install, and is tried again', async () => {
    const path = process.env.PATH;
    process.env.PATH = '/nowhere';
    try {
      await expect(namesOf(streamOf(PACKED[2]?.[1] as Buffer))).rejects.toMatchObject({
        code: 'unavailable',
        hint: 'install the package zstd on this host',
      });
    } finally {
      process.env.PATH = path;
    }
  });

  it('leaves no program behind when its reader has seen enough', async () => {
    const zeros = execFileSync('sh', ['-c', 'head -c 64M /dev/zero | zstd -q -c']);
    for await (const chunk of unzstd(streamOf(zeros), 'layer L')) {
      expect(chunk.length).toBeGreaterThan(0);
      break;
    }
    await until('no zstd is left', 10_000, () => programsOfOurs('zstd').length === 0);
  });
});

describe('a long gzip', () => {
  /** Not to be packed, so that what is packed is long too. */
  const noise = Buffer.alloc(3 * 2 ** 20);
  for (let at = 0, state = 1; at < noise.length; at += 4) {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    noise.writeUInt32LE(state, at);
  }
  const packed = gzipSync(noise);

  async function digestThrough(bytes: Buffer): Promise<string> {
    const pieces: Uint8Array[] = [];
    for await (const piece of inflated(streamOf(bytes, 65_536), 'layer L')) pieces.push(piece);
    return digestOf(Buffer.concat(pieces));
  }

  /** With igzip, and as where it is not installed. */
  describe.each([
    ['by igzip', process.env.PATH],
    ['without igzip', '/nowhere'],
  ])('%s', (_, path) => {
    const before = process.env.PATH;
    beforeEach(() => {
      process.env.PATH = path;
    });
    afterEach(() => {
      process.env.PATH = before;
    });

    it('is read, in one member or several, whatever follows them', async () => {
      expect(await digestThrough(packed)).toBe(digestOf(noise));
      const members = Buffer.concat([packed, gzipSync('more'), Buffer.alloc(512)]);
      expect(await digestThrough(members)).toBe(digestOf(Buffer.concat([noise, Buffer.from('more')])));
    });

    it.each<[string, (bytes: Buffer) => Buffer]>([
      ['is cut off', (bytes) => bytes.subarray(0, 2_000_000)],
      ['lacks its checksum', (bytes) => bytes.subarray(0, -4)],
      [
        'has another checksum',
        (bytes) => Buffer.from(bytes.map((byte, at) => (at === bytes.length - 6 ? byte ^ 1 : byte))),
      ],
    ])('is refused when it %s', async (__, spoil) => {
      await expect(digestThrough(spoil(packed))).rejects.toMatchObject({
        code: 'invalid',
        message: expect.stringMatching(/^layer L is a broken gzip: \S/),
      });
    });
  });

  it('leaves no program behind when its reader leaves', async () => {
    for await (const piece of inflated(streamOf(packed, 65_536), 'layer L')) {
      expect(piece.length).toBeGreaterThan(0);
      break;
    }
    await until('igzip is gone', 10_000, () => programsOfOurs('igzip').length === 0);
  });
});
