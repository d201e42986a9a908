/** From a Dockerfile to a service that answers on two hosts. */
import { cpSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { DevCluster } from '../support/dev-cluster.ts';

let cluster: DevCluster;
let context: string;

const DOCKERFILE = `FROM scratch AS tools
COPY busybox /bin/
RUN ["/bin/busybox", "--install", "-s", "/bin"]

FROM tools
ARG VERSION=none
RUN mkdir /www && echo "{\\"version\\": \\"$VERSION\\"}" > /www/index.html
ARG PEER
RUN ip -4 addr show eth0 | grep -q inet && ping -c 1 -W 5 "$PEER"
RUN --network=none ! ip -4 addr show eth0
COPY --from=tools /bin/busybox /copied
COPY . /context/
RUN --mount=type=secret,id=token test "$(cat /run/secrets/token)" = hush
CMD ["/bin/httpd", "-f", "-p", "80", "-h", "/www"]
`;

beforeAll(async () => {
  cluster = await DevCluster.up('--hosts', '2');
  context = join(cluster.dir, 'context');
  mkdirSync(context);
  cpSync('/bin/busybox', join(context, 'busybox'));
  writeFileSync(join(context, 'Dockerfile'), DOCKERFILE);
  writeFileSync(join(context, 'left-out.txt'), 'x');
  writeFileSync(join(context, '.dockerignore'), '*.txt\n');
  writeFileSync(join(context, 'token'), 'hush');
});
afterAll(() => cluster?.clean());

it('builds an image on a node, shows how, and runs it as a service on every host', async () => {
  const host = (await cluster.status()).hosts.find((each) => each.name === 'n2');
  const own = ['--build-arg', `PEER=${host?.address}`];
  const flags = [...own, '-t', 'own/web:1', '-t', 'own/web:latest', '--build-arg', 'VERSION=built', '--node', 'n1'];
  const secret = ['--secret', `id=token,src=${join(context, 'token')}`];
  const first = await cluster.covey('build', ...flags, ...secret, context);
  expect(first, first.err).toMatchObject({ code: 0 });
  expect(first.err).toMatch(/^#\d+ \[stage-1 2\/\d+\] RUN mkdir \/www/m);
  expect(first.err).toMatch(/^#\d+ DONE \d+\.\ds$/m);
  expect(first.err).toMatch(/^#0 \[context\] 4 files, 4 to be sent \(\S+\)$/m);
  const again = await cluster.covey('build', '-q', ...flags, ...secret, context);
  expect(again.out).toMatch(/^sha256:[0-9a-f]{64}\n$/);
  expect(await cluster.must('image', 'ls', '-q', '--no-trunc')).toContain(again.out.trim());
  const service = ['--replicas', '2', '--replicas-max-per-node', '1', '-p', '8091:80', '--quiet', '--name', 'built'];
  await cluster.must('service', 'create', ...service, 'own/web:1');
  expect(await (await fetch(`http://${host?.address}:8091/`)).json()).toEqual({ version: 'built' });
});

it('shows what builds keep on each node, and removes it', async () => {
  const shown = await cluster.must('builder', 'du', '--node', 'n1');
  expect(shown).toMatch(/^n1 +context:[0-9a-f]{12} +context of own\/web:1 +true +false /m);
  const removed = await cluster.must('builder', 'prune', '--force', '--node', 'n1');
  expect(removed).toMatch(
    /^Deleted build cache objects:\n(?:(?:step|context|mount):.*\n)+\nTotal reclaimed space: [1-9]/,
  );
  expect(await cluster.must('builder', 'du', '--node', 'n1')).not.toContain('context of');
});

it('leaves out what .dockerignore says, and takes another Dockerfile', async () => {
  const file = join(cluster.dir, 'file');
  writeFileSync(file, 'FROM own/web:1\nRUN test ! -e /context/left-out.txt && test -e /context/Dockerfile\n');
  expect(await cluster.covey('build', '-t', 'own/two', '-f', file, context)).toMatchObject({ code: 0 });
  const piped = await cluster.coveyWith('FROM own/web:1\nRUN echo from a pipe\n', 'build', '-t', 'own/three', '-');
  expect(piped, piped.err).toMatchObject({ code: 0, err: expect.stringContaining('from a pipe') });
});

it('draws on a terminal what goes on', async () => {
  const file = join(cluster.dir, 'drawn');
  writeFileSync(file, 'FROM own/web:1\nRUN echo it is seen; sleep 1\n');
  const screen = cluster.onTerminal(24, 80, 'build', '--progress', 'tty', '-t', 'own/drawn', '-f', file, context);
  await screen.sees('# it is seen');
  await screen.sees('FINISHED');
  await screen.sees('built own/drawn sha256:');
  expect(screen.shown).toMatch(/\[\+\] Building \d\.\ds \(3\/3\) FINISHED/);
  expect(await screen.code).toBe(0);
  const none = await cluster.covey('build', '--progress', 'tty', '-t', 'own/drawn', context);
  expect(none).toMatchObject({ code: 2, err: expect.stringContaining('no terminal') });
});

it('fails with 1 and the last lines when a command fails, and with 2 for a flag', async () => {
  const file = join(cluster.dir, 'failing');
  writeFileSync(file, 'FROM own/web:1\nRUN echo the reason; exit 9\n');
  const failed = await cluster.covey('build', '-t', 'own/none', '-f', file, context);
  expect(failed).toMatchObject({ code: 1, err: expect.stringContaining('returned a non-zero code: 9') });
  expect(failed.err).toContain('the reason');
  expect(await cluster.covey('build', '-t', 'x', '--ssh', 'default', context)).toMatchObject({ code: 2 });
  expect(await cluster.covey('build', context)).toMatchObject({ code: 2, err: expect.stringContaining('-t NAME') });
  expect(await cluster.must('image', 'ls')).not.toContain('own/none');
});
