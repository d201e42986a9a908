/** Pulls in pieces that are interrupted, or have no room: what is asked for again, and what is left. */
import { randomBytes } from 'node:crypto';
import { readdirSync } from 'node:fs';
import { mkdtemp, readFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { ClusterError } from '../../../common/errors.ts';
import type { Digest } from '../../../common/model/ids.ts';
import { PIECE_BYTES } from '../../../common/oci/cut.ts';
import type { KeyedCertificate } from '../../../common/tls/certificate.ts';
import { native } from '../../../native/index.ts';
import { type BuiltImage, imageOf, layer } from '../../support/image-archive.ts';
import { type Giving, MeshAgent, type MeshAgentOptions, MeshManager, meshCa } from '../../support/mesh-world.ts';
import { PAGE_BYTES, TightDisk, untilEnough } from '../../support/tight-disk.ts';
import { until } from '../../support/until.ts';

const never = new AbortController().signal;
const WEB = imageOf({ layers: [layer([{ path: 'web', body: randomBytes(7.5 * PIECE_BYTES) }])] });
const SMALL = imageOf({
  reference: 'small:1',
  layers: [layer([{ path: 'web', body: randomBytes(2.5 * PIECE_BYTES) }])],
});

let dir: string;
let disk: TightDisk;
let ca: KeyedCertificate;
let manager: MeshManager;
let agents: Map<string, MeshAgent>;

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'covey-mesh-'));
  disk = new TightDisk(dir, { mib: 16 });
  ca = await meshCa();
  agents = new Map();
});
afterEach(async () => {
  await Promise.all([...agents.values()].map((agent) => agent.close()));
  await manager?.close();
  disk.remove();
  await native().removeTree(dir);
});

/** @param uploadRate  bytes a second; 0 = as fast as it goes */
async function serve(uploadRate: number, spoil?: (giving: Giving) => Giving): Promise<void> {
  const options = { ca, uploadRate, addressOf, ...(spoil === undefined ? {} : { spoil }) };
  manager = await MeshManager.open(join(dir, 'manager'), options);
  for (const image of [WEB, SMALL]) for (const blob of image.blobs.values()) await manager.put(blob);
}

function addressOf(id: string): string | undefined {
  return agents.get(id)?.address;
}

async function open(id: string, options: Partial<MeshAgentOptions> = {}): Promise<MeshAgent> {
  const agent = await MeshAgent.open({
    dir: join(dir, id),
    id,
    ca,
    managers: () => [manager.address],
    others: () => [...agents.values()].filter((each) => each.id !== id),
    onHoldings: (news) => manager.swarms.heard(id as never, news),
    ...options,
  });
  agents.set(id, agent);
  return agent;
}

const ensure = (agent: MeshAgent, image: BuiltImage, signal = never) =>
  agent.images.ensure(image.reference, image.digest as Digest, signal);

/** The layer's blob. */
function packed({ blobs }: BuiltImage): { readonly digest: string; readonly bytes: Buffer; readonly pieces: number } {
  const [[digest, bytes] = expect.fail('no layer')] = blobs;
  return { digest, bytes, pieces: Math.ceil(bytes.length / PIECE_BYTES) };
}

/** Which pieces of the layer are in the file of the pieces that came. */
async function arrived(folder: string, image: BuiltImage): Promise<readonly number[]> {
  const { digest, bytes, pieces } = packed(image);
  const found = await readFile(join(folder, 'incoming', `${digest.replace('sha256:', '')}.pieces`));
  const at = (whole: Buffer, index: number): Buffer => whole.subarray(index * PIECE_BYTES, (index + 1) * PIECE_BYTES);
  return Array.from({ length: pieces }, (_, index) => index).filter((index) =>
    at(found, index).equals(at(bytes, index)),
  );
}

describe('a pull that was interrupted', () => {
  // Slow enough to be interrupted in the middle.
  beforeEach(() => serve(8 * PIECE_BYTES));

  /** Begins at the manager, is given up after a few pieces, and its agent ends. */
  async function interrupted(): Promise<readonly number[]> {
    const agent = await open('n2');
    const stop = new AbortController();
    const pulled = ensure(agent, WEB, stop.signal);
    pulled.catch(() => undefined);
    await until('some pieces have come', 10_000, async () => manager.pieces.length >= 3);
    stop.abort(new Error('interrupted'));
    await expect(pulled).rejects.toThrow('interrupted');
    await agent.close();
    agents.delete('n2');
    const here = await arrived(join(dir, 'n2'), WEB);
    expect(here.length).toBeGreaterThan(0);
    expect(here.length).toBeLessThan(packed(WEB).pieces);
    return here;
  }

  /** As the manager notes pieces. */
  function missing(here: readonly number[]): readonly string[] {
    const { digest, pieces } = packed(WEB);
    return Array.from({ length: pieces }, (_, index) => index)
      .filter((index) => !here.includes(index))
      .map((index) => `${digest} ${index}`);
  }

  it('asks the manager for the pieces that are missing, each once, and for no other', async () => {
    const here = await interrupted();
    manager.pieces.length = 0;
    await ensure(await open('n2'), WEB);
    expect(manager.pieces.toSorted()).toEqual(missing(here).toSorted());
  });

  it('takes from another node no piece that is here', async () => {
    const here = await interrupted();
    const given: string[] = [];
    const whole = await open('n1', {
      spoil: (exchange) => ({
        async *exchange(asks, call) {
          for await (const offer of exchange.exchange(asks, call)) {
            if (offer.bytes?.length) given.push(`${packed(WEB).digest} ${offer.index ?? 0}`);
            yield offer;
          }
        },
      }),
    });
    await ensure(whole, WEB);
    manager.pieces.length = 0;
    await ensure(await open('n2'), WEB);
    expect([...given, ...manager.pieces].toSorted()).toEqual(missing(here).toSorted());
    expect(given.length).toBeGreaterThan(0);
  });
});

describe('a disk that is full while pieces arrive', () => {
  beforeEach(() => serve(0));

  /** Nothing of it is here but what an image consists of besides its layer, and that is whole. */
  function nothingOf(image: BuiltImage, folder: string) {
    return async (where: string): Promise<void> => {
      expect(readdirSync(join(folder, 'layers')), where).toEqual([]);
      expect(readdirSync(join(folder, 'images')), where).toEqual([]);
      expect(readdirSync(join(folder, 'incoming')), where).toEqual([]);
      expect(readdirSync(join(folder, 'blobs', 'sha256')), where).not.toContain(packed(image).digest.slice(7));
    };
  }

  it.each<[string, number, () => Promise<Partial<MeshAgentOptions>>]>([
    ['from a manager', 57, async () => ({})],
    [
      'from another node',
      211,
      async () => {
        await ensure(await open('n1'), SMALL);
        return { managers: () => [] };
      },
    ],
  ])('%s, leaves nothing half there at whatever step, and is enough in the end', async (_, pages, optionsOf) => {
    const options = await optionsOf();
    const folder = join(disk.path, 'n2');
    const agent = await open('n2', { dir: folder, ...options });
    const work = () => ensure(agent, SMALL);
    const leave = (step: number): void => disk.leaveBytes(step * pages * PAGE_BYTES);
    const { value, failures } = await untilEnough({ leave, work, after: nothingOf(SMALL, folder) });
    expect(failures.some((each) => each.startsWith('blob '))).toBe(true);
    expect(failures.some((each) => each.startsWith('layer '))).toBe(true);
    expect((await readFile(join(value.layers[0] ?? '', 'web'))).length).toBe(2.5 * PIECE_BYTES);
    expect(await agent.images.packed()).toHaveLength(1);
  });
});

describe('a manager that has no room for what it is to fetch', () => {
  const full = (): never => {
    throw new ClusterError('exhausted', 'blob X cannot be written: no space left on the disk');
  };

  it('is passed over for another', async () => {
    await serve(0);
    const spoil = () => ({ fetchBlob: full, joinSwarm: full, takePiece: full });
    const other = await MeshManager.open(join(dir, 'other'), { ca, uploadRate: 0, addressOf, spoil });
    try {
      const agent = await open('n1', { managers: () => [other.address, manager.address] });
      await ensure(agent, SMALL);
    } finally {
      await other.close();
    }
  });

  it('is asked again, and what has come stays', async () => {
    let refused = 0;
    await serve(0, (giving) => ({
      ...giving,
      takePiece: (request, call) => {
        if (manager.pieces.length > 0 && refused < 2) {
          refused += 1;
          return full();
        }
        return giving.takePiece(request, call);
      },
    }));
    await ensure(await open('n1'), SMALL);
    expect(refused).toBe(2);
    expect(manager.pieces).toHaveLength(packed(SMALL).pieces);
  });
});
