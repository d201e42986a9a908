import { describe, expect, it } from 'vitest';
import { ClusterError } from '../../../../common/errors.ts';
import { noLog } from '../../../../common/log.ts';
import type { ContainerClaim, ContainerSpec } from '../../../../common/model/container.ts';
import type { Digest, NodeId } from '../../../../common/model/ids.ts';
import type { Port } from '../../../../common/model/service.ts';
import { ClaimKeeper } from '../../../../manager/control/claim-keeper.ts';
import {
  type ContainerParts,
  claimAgain,
  createContainer,
  listContainers,
} from '../../../../manager/control/containers.ts';
import { createService } from '../../../../manager/control/services.ts';
import { type ClusterBuilder, cluster } from '../../../support/cluster-builder.ts';
import { FakeClock, settle } from '../../../support/fake-clock.ts';
import { aSpec, aTemplate, CONTAINER } from '../../../support/fixtures.ts';

const signal = new AbortController().signal;
const digest = `sha256:${'a'.repeat(64)}` as Digest;
const PORT: Port = { protocol: 'tcp', target: 80, published: 8080, mode: 'host' };
const ID = 'b'.repeat(64);
const claim = (nodeId: NodeId, change: Partial<ContainerClaim> = {}): ContainerClaim => {
  return { id: ID, name: 'box', nodeId, imageDigest: digest, createdAt: 1, ports: [], isMade: true, ...change };
};
const spec: ContainerSpec = {
  name: 'box',
  template: aTemplate({ container: { ...CONTAINER, image: 'web:1' } }),
  ports: [PORT],
  network: 'cluster',
  mounts: [],
  devices: [],
  autoRemove: false,
  restart: 'no',
  restartMax: 0,
};

/** Nodes that answer as `answer` says. */
function world(answer: (method: string, builder: ClusterBuilder) => object) {
  const image = { reference: 'web:1', digest, size: 1, blobs: [digest], loadedAt: 0, os: 'linux', arch: 'amd64' };
  const builder = cluster(1).put('image', 'web:1', image);
  const engine: ContainerParts['engine'] = async function* (method) {
    yield answer(method, builder);
  };
  const node = [...builder.store.view.all('node')][0]?.value.id as NodeId;
  return { builder, node, parts: { store: builder.store, clock: new FakeClock(1_000), engine } };
}

describe('containers without a service', () => {
  it('that are made while the nodes are asked are not taken for gone', async () => {
    const { builder, node, parts } = world((_method, within) => {
      within.put('container', ID, claim(node));
      return { containers: [] };
    });
    await listContainers(parts, signal);
    expect(builder.get('container', ID).name).toBe('box');
    await listContainers(parts, signal);
    expect([...builder.store.view.all('container')]).toEqual([]);
  });

  it('lose their claims when they went with their end and their node says so, and not before', async () => {
    const answers = new Map<string, () => object>();
    const { builder, node, parts } = world(() => (answers.get('now') ?? (() => ({})))());
    const clock = new FakeClock(1_000);
    const keeper = new ClaimKeeper({ ...parts, clock, log: noLog });
    const stop = new AbortController();
    const over = keeper.run(stop.signal).catch((cause: unknown) => cause);
    const claims = () => [...builder.store.view.all('container')].map(({ value }) => value.name);
    const hear = async (news: { complete?: boolean; ids: string[] }): Promise<readonly string[]> => {
      keeper.heard(node, news);
      await settle();
      clock.advance(1_000);
      await settle();
      return claims();
    };
    builder.put('container', ID, claim(node)).put('name', 'container/box', { name: 'box', id: ID });
    expect(await hear({ ids: [ID] })).toEqual(['box']);
    answers.set('now', () => {
      throw new ClusterError('unavailable', 'the node does not answer');
    });
    expect(await hear({ complete: true, ids: [] })).toEqual(['box']);
    answers.set('now', () => {
      throw new ClusterError('not_found', 'no such container');
    });
    expect(await hear({ complete: true, ids: [ID] })).toEqual(['box']);
    expect(await hear({ complete: true, ids: [] })).toEqual([]);
    expect(builder.store.view.get('name', 'container/box')).toBeUndefined();
    builder.put('container', ID, claim(node, { isMade: false }));
    expect(await hear({ complete: true, ids: [] })).toEqual(['box']);
    expect(await hear({ ids: [ID] })).toEqual([]);
    stop.abort();
    await over;
  });

  it('get a claim again when there is none, under another name when theirs is another’s', async () => {
    const renamed: unknown[] = [];
    const { builder, node, parts } = world((method) => {
      if (method === 'renameContainer') renamed.push(method);
      return { id: ID, name: 'box', createdAt: 7, spec: { template: { container: { imageDigest: digest } } } };
    });
    const claimed = () => claimAgain(parts, { id: ID, nodeId: node }, signal);
    await claimed();
    await claimed();
    expect(builder.get('container', ID)).toEqual(claim(node, { createdAt: 7 }));
    expect(builder.get('name', 'container/box').id).toBe(ID);
    const other = 'c'.repeat(64);
    await claimAgain(parts, { id: other, nodeId: node }, signal);
    expect(builder.get('container', other).name).toBe('box-cccccccccccc');
    expect(renamed).toHaveLength(1);
  });

  it('cannot publish what a service publishes on every node, and the other way round', async () => {
    const { builder, node, parts } = world(() => ({}));
    await createService(
      parts,
      aSpec('web', { ports: [{ ...PORT, mode: 'ingress' }], template: spec.template }),
      signal,
    );
    await expect(createContainer(parts, { node: '', spec }, signal)).rejects.toMatchObject({
      code: 'exists',
      message: 'port 8080/tcp is published by service "web" on every node',
    });
    builder.put('container', ID, claim(node, { ports: [{ ...PORT, published: 9090 }] }));
    const other = (mode: Port['mode']) =>
      aSpec(`api-${mode}`, { ports: [{ ...PORT, published: 9090, mode }], template: spec.template });
    await expect(createService(parts, other('ingress'), signal)).rejects.toMatchObject({
      code: 'exists',
      message: expect.stringContaining('port 9090/tcp is published by container "box" on node'),
    });
    await expect(createService(parts, other('host'), signal)).resolves.toBeDefined();
  });
});
