# The client alone: `docker run --network host -v $PWD:/pictures tryon-client try --person me.jpg ...`
ARG PYTHON_IMAGE=python:3.11-slim
FROM ${PYTHON_IMAGE}
COPY client /opt/client
RUN python -m pip install --no-cache-dir /opt/client && useradd --create-home --uid 10001 tryon
# By number: a cluster that asks for other users than root can't look up a name.
USER 10001
WORKDIR /pictures
ENTRYPOINT ["tryon"]
