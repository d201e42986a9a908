import { expect, it } from 'vitest';
import { proxyFor, proxySettings } from '../../../../common/registry/proxy.ts';

const PROXY = 'http://proxy:3128';

const proxyOf = (url: string, except: string): string | undefined =>
  proxyFor(new URL(url), { https: PROXY, http: '', except });

it('goes by the variable of the URL’s own kind, lower case first', () => {
  const settings = proxySettings({ HTTPS_PROXY: 'a:1', https_proxy: 'b:2', HTTP_PROXY: 'http://c:3' });
  expect(proxyFor(new URL('https://ghcr.io/v2/'), settings)).toBe('http://b:2');
  expect(proxyFor(new URL('http://ghcr.io/v2/'), settings)).toBe('http://c:3');
  expect(proxyFor(new URL('https://ghcr.io/v2/'), proxySettings({}))).toBeUndefined();
});

it.each([
  ['https://ghcr.io/', '', true],
  ['https://ghcr.io/', '*', false],
  ['https://ghcr.io/', 'example.org, ghcr.io', false],
  ['https://GHCR.io/', 'Ghcr.IO', false],
  ['https://a.ghcr.io/', 'ghcr.io', false],
  ['https://notghcr.io/', 'ghcr.io', true],
  ['https://ghcr.io/', '.ghcr.io', true],
  ['https://a.ghcr.io/', '.ghcr.io', false],
  ['https://a.ghcr.io/', '*.ghcr.io', false],
  ['https://ghcr.io/', 'ghcr.io:5000', true],
  ['https://ghcr.io:5000/', 'ghcr.io:5000', false],
  ['https://ghcr.io/', 'ghcr.io:443', false],
  ['https://10.1.2.3:5000/', '10.0.0.0/8', false],
  ['https://11.1.2.3/', '10.0.0.0/8', true],
  ['https://10.1.2.3/', '10.1.2.3', false],
  ['https://[fd00::1]/', 'fd00::/8', false],
  ['https://[fd00::1]/', 'fd00::1', false],
  ['https://ghcr.io/', '10.0.0.0/8, ., /, 10.0.0.0/99, :', true],
])('%s with NO_PROXY "%s" goes through the proxy: %s', (url, except, through) => {
  expect(proxyOf(url, except)).toBe(through ? PROXY : undefined);
});
