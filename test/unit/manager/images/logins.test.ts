import { beforeEach, expect, it } from 'vitest';
import type { RegistryLogin } from '../../../../common/model/cluster.ts';
import { login, logout } from '../../../../manager/control/logins.ts';
import { Logins } from '../../../../manager/images/logins.ts';
import { put } from '../../../../manager/store/store.ts';
import { FakeClock } from '../../../support/fake-clock.ts';
import { aCluster } from '../../../support/fixtures.ts';
import { MemoryStore } from '../../../support/memory-store.ts';

const never = new AbortController().signal;
const clock = new FakeClock(5);
const ADA = { username: 'ada', password: 'enchantress of numbers' } as const;
let store: MemoryStore;
let logins: Logins;

beforeEach(async () => {
  store = new MemoryStore();
  const ca = { certificate: 'public', key: 'secret' };
  await store.commit([[put('cluster', 'default', aCluster({ ca }), 0)]], never);
  logins = new Logins({ store, clock });
});

const wish = (more: object = {}) => ({ server: 'registry:5000', ...ADA, ...more });
const taken = { prove: async () => undefined };

it('is there for every manager, and stored so that nobody can read the password', async () => {
  await logins.keep('registry:5000', ADA, never);
  expect(new Logins({ store, clock }).of('registry:5000')).toEqual(ADA);
  const [stored] = logins.list();
  expect(stored).toMatchObject({ registry: 'registry:5000', username: 'ada', createdAt: 5 });
  expect(Buffer.from(stored?.sealed ?? '', 'base64').includes('enchantress')).toBe(false);
});

it('is encrypted otherwise each time', async () => {
  await logins.keep('a', ADA, never);
  await logins.keep('b', ADA, never);
  const [one, other] = logins.list().map(({ sealed }) => sealed);
  expect(one).not.toBe(other);
});

it.each<[string, object, string]>([
  ['of another registry', { registry: 'other' }, 'secret'],
  ['of another user', { username: 'eve' }, 'secret'],
  ['of another cluster', {}, 'another secret'],
])('cannot be read as that %s', async (_, more, key) => {
  await logins.keep('registry:5000', ADA, never);
  const elsewhere = new MemoryStore();
  const cluster = aCluster({ ca: { certificate: 'public', key } });
  const moved = { ...logins.list()[0], ...more } as RegistryLogin;
  await elsewhere.commit([[put('cluster', 'default', cluster, 0), put('login', moved.registry, moved, 0)]], never);
  expect(() => new Logins({ store: elsewhere, clock }).of(moved.registry)).toThrow(
    expect.objectContaining({ code: 'denied', message: expect.stringContaining('another key') }),
  );
});

it('goes by the managers’ own key where they have one', async () => {
  const key = Buffer.alloc(32, 1);
  await new Logins({ store, clock, key }).keep('registry:5000', ADA, never);
  expect(new Logins({ store, clock, key }).of('registry:5000')).toEqual(ADA);
  expect(() => logins.of('registry:5000')).toThrow(expect.objectContaining({ code: 'denied' }));
});

it('is kept only once the registry has taken it', async () => {
  const refused = { prove: async () => Promise.reject(new Error('refused')) };
  await expect(login({ logins, registries: refused }, wish(), never)).rejects.toThrow('refused');
  expect(logins.list()).toEqual([]);
  expect(await login({ logins, registries: taken }, wish({ server: 'https://registry:5000/v2/' }), never)).toBe(
    'registry:5000',
  );
  expect(logins.of('registry:5000')).toEqual(ADA);
});

it('for no server is for Docker Hub', async () => {
  expect(await login({ logins, registries: taken }, wish({ server: '' }), never)).toBe('docker.io');
});

it.each([
  ['username', wish({ username: '' })],
  ['username', wish({ username: 'a:b' })],
  ['password', wish({ password: '' })],
  ['server', wish({ server: 'no registry' })],
])('without a proper %s is refused', async (field, given) => {
  await expect(login({ logins, registries: taken }, given, never)).rejects.toMatchObject({ code: 'invalid', field });
});

it('is forgotten once', async () => {
  await logins.keep('docker.io', ADA, never);
  expect(await logout({ logins, registries: taken }, 'index.docker.io', never)).toEqual({
    registry: 'docker.io',
    wasKnown: true,
  });
  expect(logins.of('docker.io')).toBeUndefined();
  expect(await logout({ logins, registries: taken }, '', never)).toEqual({ registry: 'docker.io', wasKnown: false });
});
