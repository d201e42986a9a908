import { expect, it } from 'vitest';
import { parseReference } from '../../../../common/oci/reference.ts';
import { isLoopback, placeOf, serverPlace } from '../../../../common/registry/place.ts';

it.each([
  ['web', 'docker.io', 'registry-1.docker.io', 'library/web'],
  ['docker.io/web:2', 'docker.io', 'registry-1.docker.io', 'library/web'],
  ['grafana/loki', 'docker.io', 'registry-1.docker.io', 'grafana/loki'],
  ['localhost/web', 'localhost', 'localhost', 'web'],
  ['localhost:5000/a/b:1', 'localhost:5000', 'localhost:5000', 'a/b'],
  ['ghcr.io/a/b/c', 'ghcr.io', 'ghcr.io', 'a/b/c'],
  ['registry:5000/web', 'registry:5000', 'registry:5000', 'web'],
  ['Build/web', 'Build', 'Build', 'web'],
])('%s leads to %s, %s, %s', (text, registry, host, repository) => {
  expect(placeOf(parseReference(text).name)).toEqual({ registry, host, repository });
});

it.each([
  ['localhost', true],
  ['localhost:5000', true],
  ['127.0.0.1:5000', true],
  ['127.8.0.1', true],
  ['127.0.0.1.example.org', false],
  ['localhost.example.org', false],
  ['2130706433:5000', false],
  ['10.0.0.1:5000', false],
])('%s is this machine itself: %s', (host, is) => {
  expect(isLoopback(host)).toBe(is);
});

it.each([
  ['', 'docker.io', 'registry-1.docker.io'],
  ['docker.io', 'docker.io', 'registry-1.docker.io'],
  ['https://index.docker.io/v1/', 'docker.io', 'registry-1.docker.io'],
  ['registry-1.docker.io', 'docker.io', 'registry-1.docker.io'],
  ['ghcr.io', 'ghcr.io', 'ghcr.io'],
  ['http://registry:5000/v2/', 'registry:5000', 'registry:5000'],
  ['[::1]:5000', '[::1]:5000', '[::1]:5000'],
])('logging in to "%s" is for %s, at %s', (server, registry, host) => {
  expect(serverPlace(server)).toEqual({ registry, host, repository: '' });
});

it.each(['https://', '/v2/', 'a b', 'host:port', 'user:secret@host'])('there is no logging in to "%s"', (server) => {
  expect(serverPlace(server)).toBeUndefined();
});
