export default async (component) => (await import(new URL(component.data.files.live, location.origin))).mount(component);
