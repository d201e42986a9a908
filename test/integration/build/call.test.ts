/** The client's side of a build and the node's, with a real connection between them. */
import { mkdtempSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { buildHandler } from '../../../agent/build/handler.ts';
import { callBuild } from '../../../cli/build-call.ts';
import { sourceOf } from '../../../cli/build-source.ts';
import { noLog } from '../../../common/log.ts';
import { rpcChannel, rpcServer } from '../../../common/rpc.ts';
import { createCa, issue } from '../../../common/tls/certificate.ts';
import type { covey } from '../../../proto/messages.ts';
import { Engine } from '../../../proto/methods.ts';
import type { Role, TlsMaterial } from '../../../proto/rpc.ts';
import type { RpcChannel } from '../../../proto/rpc-channel.ts';
import type { RpcServer } from '../../../proto/rpc-server.ts';
import { BuildWorld } from '../../support/build-world.ts';
import { forever } from '../../support/native-world.ts';

let world: BuildWorld;
let server: RpcServer;
let channel: RpcChannel;
let folder: string;

beforeAll(async () => {
  world = await BuildWorld.open();
  const ca = await createCa('c1', Date.now());
  const material = async (role: Role, id: string): Promise<TlsMaterial> => {
    const own = await issue(ca, { role, id, clusterId: 'c1' }, { now: Date.now(), lifetimeMs: 3_600_000 });
    return { ca: ca.certificate, certificate: own.certificate, key: own.key };
  };
  server = rpcServer(ca.certificate, noLog);
  server.addMethod(Engine, 'build', buildHandler(world.builder).build, ['client']);
  const port = await server.listen('127.0.0.1:0', await material('manager', 'm1'));
  channel = rpcChannel(`127.0.0.1:${port}`, await material('client', 'u1'));
  folder = mkdtempSync(join(world.native.folder, 'call-'));
  writeFileSync(join(folder, 'Dockerfile'), 'FROM scratch\nCOPY . /\n');
  writeFileSync(join(folder, 'large'), Buffer.alloc(2_500_000, 'large'));
  for (let i = 0; i < 1_200; i += 1) writeFileSync(join(folder, `ünïque-${i}`), `content ${i}`);
});
afterAll(async () => {
  channel?.close();
  await server?.close(100);
  await world.destroy();
});

/** How many contents were sent, and what came of it. */
async function built(change: () => void = () => undefined): Promise<{ readonly sent: number; readonly image: string }> {
  const { name, text = '', context } = await sourceOf(folder, undefined, forever);
  change();
  const listedContext = context.kind === 'folder' ? context.origin : '';
  const outputs: covey.v1.BuildOutput[] = [];
  const counted = {
    ...channel.service(Engine),
    async *build(inputs: AsyncIterable<covey.v1.BuildInput.$Properties>, options: { readonly signal: AbortSignal }) {
      for await (const output of channel.service(Engine).build(inputs, options)) {
        outputs.push(output);
        yield output;
      }
    },
  };
  const first = { start: { names: ['called:1'], file: name, text, listedContext } };
  await callBuild(counted, { first, context, show: () => undefined }, forever);
  const sent = outputs.flatMap(({ lacks }) => (lacks ? [lacks.entries?.length ?? 0] : []));
  return { sent: sent[0] ?? Number.NaN, image: outputs.find((each) => each.built)?.built ?? '' };
}

it('sends what the node lacks, once', async () => {
  const first = await built();
  expect(first).toMatchObject({ sent: 1_202, image: expect.stringMatching(/^sha256:/) });
  expect(await built()).toEqual({ sent: 0, image: first.image });
  expect((await built(() => writeFileSync(join(folder, 'large'), 'other'))).sent).toBe(0);
  expect((await built()).sent).toBe(1);
});

it('says which file has changed while it was sent, and leaves nothing of it', async () => {
  writeFileSync(join(folder, 'new'), 'one');
  const longer = built(() => writeFileSync(join(folder, 'new'), 'two'));
  await expect(longer).rejects.toMatchObject({
    code: 'invalid',
    message: '"new" of the build context is not what was listed',
  });
  const shorter = built(() => writeFileSync(join(folder, 'new'), '1'));
  await expect(shorter).rejects.toThrow(`${join(folder, 'new')} has shrunk while it was read`);
  expect(await world.leftovers()).toEqual([]);
});
