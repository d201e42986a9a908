import { beforeEach, expect, it } from 'vitest';
import { ClusterError, type ErrorCode } from '../../../../common/errors.ts';
import type { Image } from '../../../../common/model/cluster.ts';
import type { Digest } from '../../../../common/model/ids.ts';
import { type PullPolicy, pullAsWished } from '../../../../manager/images/pull-policy.ts';
import { put } from '../../../../manager/store/store.ts';
import { MemoryStore } from '../../../support/memory-store.ts';

const never = new AbortController().signal;
const OLD = `sha256:${'a'.repeat(64)}` as Digest;
const NEW = `sha256:${'b'.repeat(64)}` as Digest;

function anImage(reference: string, digest: Digest, isInRegistry: boolean): Image {
  const image = { reference, digest, size: 1, blobs: [digest], loadedAt: 0, os: 'linux', arch: 'amd64' };
  return isInRegistry ? { ...image, isInRegistry } : image;
}

let store: MemoryStore;
let asked: string[];
let fault: ErrorCode | undefined;

beforeEach(async () => {
  store = new MemoryStore();
  asked = [];
  fault = undefined;
  const pulled = anImage('pulled:1', OLD, true);
  const loaded = anImage('loaded:1', OLD, false);
  await store.commit([[put('image', 'pulled:1', pulled, 0), put('image', 'loaded:1', loaded, 0)]], never);
});

/** What the wish ends with; the registry has a newer image under every name. */
async function wish(reference: string, policy: PullPolicy): Promise<string> {
  const images = {
    pull: async (name: string) => {
      asked.push(name);
      if (fault !== undefined) throw new ClusterError(fault, 'registry r says no');
      return { image: anImage(name, NEW, true), isNew: true };
    },
  };
  const parts = { images, view: () => store.view };
  const { image, warning } = await pullAsWished(parts, { reference, policy }, () => undefined, never);
  return `${image.digest === NEW ? 'new' : 'old'}${warning === '' ? '' : ' with a warning'}`;
}

it.each<[string, PullPolicy, string, number]>([
  ['pulled:1', 'always', 'new', 1],
  ['pulled:1', 'refresh', 'new', 1],
  ['pulled:1', 'missing', 'old', 0],
  ['loaded:1', 'always', 'new', 1],
  ['loaded:1', 'refresh', 'old', 0],
  ['loaded:1', 'missing', 'old', 0],
  ['absent:1', 'refresh', 'new', 1],
  ['absent:1', 'missing', 'new', 1],
  [`pulled:1@${OLD}`, 'refresh', 'old', 0],
  [`pulled:1@${NEW}`, 'refresh', 'new', 1],
])('%s, %s: the %s image, after %d questions to the registry', async (reference, policy, outcome, questions) => {
  expect(await wish(reference, policy)).toBe(outcome);
  expect(asked).toHaveLength(questions);
});

it.each(['unavailable', 'exhausted', 'denied', 'not_found'] as const)(
  'the image that the cluster has will do when the registry answers %s, with a warning',
  async (code) => {
    fault = code;
    expect(await wish('pulled:1', 'refresh')).toBe('old with a warning');
    await expect(wish('pulled:1', 'always')).rejects.toMatchObject({ code });
    await expect(wish('absent:1', 'refresh')).rejects.toMatchObject({ code });
  },
);

it('a broken image in the registry is an error, though the cluster has an older one', async () => {
  fault = 'invalid';
  await expect(wish('pulled:1', 'refresh')).rejects.toMatchObject({ code: 'invalid' });
});
