/** Images that come from other nodes: real servers, real files, everything that can go wrong between them. */
import { randomBytes } from 'node:crypto';
import { mkdtemp, readdir, readFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { placeHandler } from '../../../agent/image/place-handler.ts';
import type { Digest } from '../../../common/model/ids.ts';
import { PIECE_BYTES } from '../../../common/oci/cut.ts';
import type { KeyedCertificate } from '../../../common/tls/certificate.ts';
import { native } from '../../../native/index.ts';
import { type BuiltImage, imageOf, layer } from '../../support/image-archive.ts';
import { MeshAgent, type MeshAgentOptions, MeshManager, meshCa } from '../../support/mesh-world.ts';
import { until } from '../../support/until.ts';

const MIB = PIECE_BYTES;
const never = new AbortController().signal;
const fileLayer = (name: string, mib: number) => layer([{ path: name, body: randomBytes(mib * MIB) }]);
const SHARED = fileLayer('base', 3);
const WEB = imageOf({ layers: [SHARED, fileLayer('web', 4)] });
const API = imageOf({ reference: 'api:1', layers: [SHARED, fileLayer('api', 2)] });
const bytesOf = ({ blobs }: BuiltImage): number => [...blobs.values()].reduce((sum, { length }) => sum + length, 0);

let dir: string;
let ca: KeyedCertificate;
let manager: MeshManager;
let agents: Map<string, MeshAgent>;

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'covey-mesh-'));
  ca = await meshCa();
  agents = new Map();
  manager = await MeshManager.open(join(dir, 'manager'), {
    ca,
    uploadRate: 0,
    addressOf: (id) => agents.get(id)?.address,
  });
  for (const image of [WEB, API]) for (const blob of image.blobs.values()) await manager.put(blob);
});
afterEach(async () => {
  await Promise.all([...agents.values()].map((agent) => agent.close()));
  await manager.close();
  await native().removeTree(dir);
});

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

async function contentOf(agent: MeshAgent, image: BuiltImage, name: string): Promise<Buffer> {
  const { layers } = await ensure(agent, image);
  return await readFile(join(layers.at(-1) ?? '', name));
}

describe('an image on several nodes', () => {
  it('leaves the manager about once, however many nodes begin with it together', async () => {
    const all = await Promise.all(['n1', 'n2', 'n3', 'n4', 'n5'].map((id) => open(id)));
    await Promise.all(all.map((agent) => ensure(agent, WEB)));
    expect(manager.egress / bytesOf(WEB)).toBeLessThan(2);
    const contents = await Promise.all(all.map((agent) => contentOf(agent, WEB, 'web')));
    for (const content of contents) expect(content.equals(contents[0] as Buffer)).toBe(true);
  });

  it('comes from a node that has it, not from the manager', async () => {
    await ensure(await open('n1'), WEB);
    const before = manager.egress;
    await ensure(await open('n2'), WEB);
    // Manifest and config are not worth a swarm.
    expect(manager.egress - before).toBeLessThan(10_000);
  });

  it('shares layers with another that comes at the same time', async () => {
    const agent = await open('n1');
    const [web, api] = await Promise.all([ensure(agent, WEB), ensure(agent, API)]);
    expect(web.layers[0]).toBe(api.layers[0]);
    expect(manager.egress).toBeLessThan(bytesOf(WEB) + bytesOf(API));
  });

  it('comes from the other nodes when every manager is away', async () => {
    await ensure(await open('n1'), WEB);
    const agent = await open('n2', { managers: () => [] });
    await ensure(agent, WEB);
    expect((await contentOf(agent, WEB, 'web')).length).toBe(4 * MIB);
  });

  it('comes from the manager when no node can be reached', async () => {
    const first = await open('n1');
    await ensure(first, WEB);
    await first.close();
    await ensure(await open('n2'), WEB);
  });
});

describe('another node', () => {
  it('that gives wrong bytes is found out and not asked again', async () => {
    let given = 0;
    const liar = await open('n1', {
      spoil: (exchange) => ({
        async *exchange(asks, call) {
          for await (const offer of exchange.exchange(asks, call)) {
            if (offer.bytes?.length) given += 1;
            yield offer.bytes?.length ? { ...offer, bytes: Buffer.alloc(offer.bytes.length, 1) } : offer;
          }
        },
      }),
    });
    await ensure(liar, WEB);
    const agent = await open('n2');
    await ensure(agent, WEB);
    // What it had been asked for before the first wrong piece, of each layer.
    expect(given).toBeLessThanOrEqual(4);
    expect((await contentOf(agent, WEB, 'web')).equals(await contentOf(liar, WEB, 'web'))).toBe(true);
    const before = given;
    await ensure(agent, API);
    expect(given).toBe(before);
  });

  it('that says it has everything and gives nothing holds nobody up for ever', async () => {
    const mute = await open('n1', {
      spoil: () => ({
        async *exchange(_asks, { signal }) {
          await new Promise((resolve) => signal.addEventListener('abort', resolve));
          yield {};
        },
      }),
    });
    await ensure(mute, WEB);
    await ensure(await open('n2'), WEB);
  });

  it('that vanishes in the middle is replaced by whoever else has the pieces', async () => {
    const first = await open('n1', { uploadRate: 2 * MIB });
    await ensure(first, WEB);
    const agent = await open('n2');
    const ensured = ensure(agent, WEB);
    await until('the first piece has come', 10_000, async () => {
      const names = await readdir(join(dir, 'n2/incoming'));
      return names.length > 0;
    });
    await first.close();
    await ensured;
  });

  it('of which this one has not heard gets nothing', async () => {
    const first = await open('n1', { isMember: () => false });
    await ensure(first, WEB);
    const before = manager.egress;
    await ensure(await open('n2'), WEB);
    expect(manager.egress - before).toBeGreaterThan(bytesOf(WEB) / 2);
  });
});

describe('an image placed on a node', () => {
  it('is there before a task needs it, and only said to be the second time', async () => {
    const agent = await open('n1');
    const { placeImage } = placeHandler(agent.images);
    const call = { peer: undefined, signal: never };
    const said = async () => {
      const words: unknown[] = [];
      const request = { node: 'n1', reference: WEB.reference, digest: WEB.digest };
      for await (const word of placeImage(request as never, call)) words.push(word);
      return words;
    };
    expect(await said()).toEqual([
      { here: false, existed: false },
      { here: true, existed: false },
    ]);
    expect(await said()).toEqual([{ here: true, existed: true }]);
    expect((await contentOf(agent, WEB, 'web')).length).toBe(4 * MIB);
  });
});
